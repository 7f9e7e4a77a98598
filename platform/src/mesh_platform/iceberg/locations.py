"""Place data files in one folder per table, under names that contain no values of rows.

By default pyiceberg puts a file's partition values into its path. A value may be longer than a file system allows in
a name (255 bytes on most), and it may be personal. Readers use the path in a manifest (Iceberg spec, "Manifests",
`file_path`), so existing files with such a path stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyiceberg.table import TableProperties
from pyiceberg.table.locations import LocationProvider

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionKey


class PlainLocations(LocationProvider):
    """Places all data files directly in the table's data folder, which is `write.data.path` if that is set."""

    def new_data_location(self, data_file_name: str, partition_key: PartitionKey | None = None) -> str:
        """Return the location of a new data file. pyiceberg's names contain a UUID, so they are unique."""
        return f"{self.data_path}/{data_file_name}"


def without_values(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the properties of a table, plus those that make pyiceberg give new data files such locations.

    They are meant for one write, not for the table: a writer without this package would fail on the name of the
    class. A table that names its own class keeps it, and one that spreads its files over an object store still does.
    """
    if properties.get(TableProperties.OBJECT_STORE_ENABLED, "").lower() == "true":
        return {**properties, TableProperties.WRITE_OBJECT_STORE_PARTITIONED_PATHS: "false"}
    own = f"{PlainLocations.__module__}.{PlainLocations.__qualname__}"
    return {TableProperties.WRITE_PY_LOCATION_PROVIDER_IMPL: own, **properties}
