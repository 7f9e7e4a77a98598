"""Check that the tables of a lake are in the warehouse of its catalog.

Iceberg names every file by its full path. So a copied catalog names the original's files, and what is done through it
is done to the original. `iceberg/relocate.py` turns such a copy into a lake of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mesh_platform.errors import UsageError

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.table import Table

# The prefix of the note in a table's `previous_metadata_location` while its files are rewritten. No reader of
# Iceberg's catalogs uses that column.
_UNDERWAY = "relocating:"
_NONE: Mapping[str, str] = {}
MEND = "Run 'mesh relocate', which makes it a lake of its own"


@dataclass(frozen=True)
class Entry:
    """A table as a SQL catalog has it. `previous` is its previous metadata file.

    `underway` are the target places of a relocation that has not finished; it is empty if there is none.
    """

    namespace: str
    table: str
    metadata: str
    previous: str | None
    underway: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.namespace}.{self.table}"


def plain(location: str) -> str:
    """Normalise what writers spell differently: `file:` before a path, `s3a:` for `s3:`, a trailing slash."""
    for scheme, spelled in (("file://", ""), ("file:", ""), ("s3a://", "s3://"), ("s3n://", "s3://")):
        if location.startswith(scheme):
            location = spelled + location.removeprefix(scheme)
            break
    return location.rstrip("/")


def within(location: str, place: str) -> bool:
    """Whether a location is a place or inside it: `/a/lake2/t` is not inside `/a/lake`."""
    return f"{plain(location)}/".startswith(f"{plain(place)}/")


def check_warehouse(catalog: Catalog) -> None:
    """Raise UsageError if a table of a SQL catalog is outside its warehouse, or its relocation has not finished.

    Other catalogs do not say where their warehouse is; for them only `check_table` applies.
    """
    if not is_sql(catalog):
        return
    own = warehouse(catalog)
    if own and "://" in own and {*"#?"} & {*own}:
        # pyiceberg ends a path there: all files of the lake would be one object, each overwriting the last.
        raise UsageError(f"{own}: a warehouse's URL must have no '#' and no '?'. Choose another place.")
    strangers = _entries(catalog, elsewhere=own)
    unfinished = [entry for entry in strangers if entry.underway]
    if unfinished:
        raise UsageError(
            f"{own or 'the lake'}: its relocation to {unfinished[0].underway[-1]} has not ended, and a table such as "
            f"{unfinished[0].name} may name files of two places. Nothing was read or changed. Run 'mesh relocate' "
            "again, which finishes it."
        )
    if own is None:
        return
    strangers = strange(catalog, strangers, own)
    if strangers:
        first = strangers[0]
        place = place_of(first) or first.metadata
        raise UsageError(
            f"{own}: this lake was copied or moved, and its catalog still names the files in {place}, such as those "
            f"of {first.name}. Nothing was read or changed. {MEND}; or use the lake where it was."
        )


def check_table(table: Table) -> None:
    """Raise UsageError if the metadata file of a table is outside the folder that it names as the table's own.

    That is so for a copy that was registered in another catalog: all files that it names are those of the original.
    """
    own = [table.location(), table.properties.get("write.metadata.path", table.location())]
    if not any(within(table.metadata_location, place) for place in own):
        raise UsageError(
            f"{'.'.join(table.name())}: its metadata file {table.metadata_location} lies outside of the table's own "
            f"folder {table.location()}, as that of a copy does, and names the files there. Nothing was read or "
            f"changed. {MEND}; or use the table where it was."
        )


def strange(catalog: Catalog, entries: Sequence[Entry], own: str) -> list[Entry]:
    """Return the entries of a SQL catalog that are neither in its warehouse `own` nor in their namespace's place."""
    found = [entry for entry in entries if not within(entry.metadata, own)]
    if not found:
        return []
    namespaces = namespace_places(catalog)
    names = {place: is_name_of(catalog, place, own) for place in {place_of(entry) for entry in found} if place}
    return [
        entry
        for entry in found
        if not names.get(place_of(entry) or "") and not within(entry.metadata, namespaces.get(entry.namespace, own))
    ]


def is_name_of(catalog: Catalog, place: str, own: str) -> bool:
    """Whether a place is only another name of the warehouse: a link to where it was moved, or a second mount."""
    database = sql(catalog).engine.url.database
    try:
        if not os.path.samefile(plain(place), plain(own)):
            return False
        if database and os.path.dirname(database) == os.path.dirname(plain(own)):
            # A copy that links to the original's files has a catalog of its own, another file than the original's.
            beside = os.path.join(os.path.dirname(plain(place)), os.path.basename(database))
            return os.path.samefile(beside, database)
    except OSError:
        return False
    return True


def is_sql(catalog: Catalog) -> bool:
    """Whether a catalog is a SQL database, which can list the places of all its tables at once."""
    return hasattr(catalog, "engine") and hasattr(catalog, "_iceberg_type_filter")


def sql(catalog: Catalog) -> SqlCatalog:
    """Cast a catalog for which `is_sql` is true to SqlCatalog."""
    return cast("SqlCatalog", catalog)


def warehouse(catalog: Catalog) -> str | None:
    """Return the warehouse of a catalog, None if its settings do not name one."""
    found = catalog.properties.get("warehouse")
    return str(found) if found else None


def sql_entries(catalog: Catalog) -> list[Entry]:
    """Return the tables of a SQL catalog, without the views of other engines."""
    return _entries(catalog)


def _entries(catalog: Catalog, elsewhere: str | None = None) -> list[Entry]:
    """Return the entries of a SQL catalog; with `elsewhere`, only those outside that place or being relocated."""
    from pyiceberg.catalog.sql import IcebergTables as Row
    from sqlalchemy import func, or_, select

    columns = (Row.table_namespace, Row.table_name, Row.metadata_location, Row.previous_metadata_location)
    query = select(*columns).where(Row.catalog_name == catalog.name).order_by(*columns[:2])
    is_table = sql(catalog)._iceberg_type_filter()
    if is_table is not None:
        query = query.where(is_table)
    if elsewhere is not None:
        # Not LIKE, which ignores case in SQLite.
        prefix = f"{elsewhere.rstrip('/')}/"
        query = query.where(
            or_(
                func.substr(Row.metadata_location, 1, len(prefix)) != prefix,
                func.substr(Row.previous_metadata_location, 1, len(_UNDERWAY)) == _UNDERWAY,
            )
        )
    with sql(catalog).engine.connect() as connection:
        rows = connection.execute(query).all()
    found = [_read(*row) for row in rows if row[2]]
    if elsewhere is not None:
        return [entry for entry in found if entry.underway or not within(entry.metadata, elsewhere)]
    return found


def _read(namespace: str, table: str, metadata: str, previous: str | None) -> Entry:
    if previous is None or not previous.startswith(_UNDERWAY):
        return Entry(namespace, table, metadata, previous)
    noted = json.loads(previous.removeprefix(_UNDERWAY))
    return Entry(namespace, table, metadata, noted["previous"], tuple(noted["places"]))


def load_entry(catalog: Catalog, entry: Entry) -> Table:
    """Load the table of an entry of a SQL catalog, in the state that it names. Raises what pyiceberg raises."""
    from pyiceberg.io import load_file_io
    from pyiceberg.serializers import FromInputFile
    from pyiceberg.table import Table

    location = entry.metadata
    metadata = FromInputFile.table_metadata(load_file_io(catalog.properties, location).new_input(location))
    io = load_file_io({**catalog.properties, **metadata.properties}, location)
    return Table((*entry.namespace.split("."), entry.table), metadata, location, io, catalog)


def namespace_places(catalog: Catalog) -> dict[str, str]:
    """Return the places that the namespaces of a SQL catalog give to their tables, for those that do."""
    from pyiceberg.catalog.sql import IcebergNamespaceProperties as Row
    from sqlalchemy import select

    query = select(Row.namespace, Row.property_value).where(Row.catalog_name == catalog.name)
    with sql(catalog).engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query.where(Row.property_key == "location"))}


def place_of(entry: Entry) -> str | None:
    """Return the warehouse that a table is in, by the name of its folder; None if that is not the table's name."""
    folder = entry.metadata.rpartition("/")[0].removesuffix("/metadata")
    ending = f"/{entry.namespace}/{entry.table}"
    return folder.removesuffix(ending) if folder.endswith(ending) else None


def note_underway(catalog: Catalog, entries: Sequence[Entry], place: str) -> None:
    """Record in a SQL catalog that the files of these tables are being rewritten for a place.

    `check_warehouse` refuses the catalog until the relocation has finished.
    """
    changes = []
    for entry in entries:
        places = [each for each in entry.underway if plain(each) != plain(place)]
        noted = json.dumps({"places": [*places, place], "previous": entry.previous}, ensure_ascii=False)
        changes.append((entry, entry.metadata, _UNDERWAY + noted))
    point(catalog, changes)


def point(
    catalog: Catalog, changes: Sequence[tuple[Entry, str, str | None]], namespaces: Mapping[str, str] = _NONE
) -> None:
    """Make a SQL catalog name other metadata files, all or none: (entry, metadata file, previous metadata file).

    `namespaces` are the new places of namespaces. An entry that somebody else has changed meanwhile stays.
    """
    from pyiceberg.catalog.sql import IcebergNamespaceProperties as Property
    from pyiceberg.catalog.sql import IcebergTables as Row
    from sqlalchemy import update

    with sql(catalog).engine.begin() as connection:
        for entry, metadata, previous in changes:
            same = (
                Row.catalog_name == catalog.name,
                Row.table_namespace == entry.namespace,
                Row.table_name == entry.table,
                Row.metadata_location == entry.metadata,
            )
            new = {"metadata_location": metadata, "previous_metadata_location": previous}
            connection.execute(update(Row).where(*same).values(new))
        for namespace, place in namespaces.items():
            its = (Property.catalog_name == catalog.name, Property.namespace == namespace)
            location = update(Property).where(*its, Property.property_key == "location")
            connection.execute(location.values(property_value=place))
