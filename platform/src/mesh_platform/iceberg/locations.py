"""Where data files lie: in one folder of their table, under names that hold no value of a row.

pyiceberg by itself puts the values of a file's partition into its path. A value may be longer than a file system
takes in a name (255 bytes on most), and it may be personal. Readers take the path that a manifest gives (Iceberg
spec, "Manifests", `file_path`), so files that have such a path already stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyiceberg.table import TableProperties
from pyiceberg.table.locations import LocationProvider

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionKey


class PlainLocations(LocationProvider):
    """Data files lie side by side in the table's data folder, which is `write.data.path` where that is set."""

    def new_data_location(self, data_file_name: str, partition_key: PartitionKey | None = None) -> str:
        """The location of a new data file. The names that pyiceberg gives hold a UUID, so no two are equal."""
        return f"{self.data_path}/{data_file_name}"


def without_values(properties: Mapping[str, str]) -> dict[str, str]:
    """The properties of a table, and with them those by which pyiceberg gives new data files such locations.

    They are for one write and not for the table: a writer without this package would stop at the name of the class. A
    table that names a class of its own keeps it, and one that spreads its files over an object store does so.
    """
    if properties.get(TableProperties.OBJECT_STORE_ENABLED, "").lower() == "true":
        return {**properties, TableProperties.WRITE_OBJECT_STORE_PARTITIONED_PATHS: "false"}
    own = f"{PlainLocations.__module__}.{PlainLocations.__qualname__}"
    return {TableProperties.WRITE_PY_LOCATION_PROVIDER_IMPL: own, **properties}
