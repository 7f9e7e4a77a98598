"""Where the tables of a lake lie, and whether that is where its catalog has its warehouse.

Iceberg names every file by its whole path. So a copied catalog names the original's files, and what is done through
it is done to the original. `lake/relocate.py` makes such a copy a lake of its own.
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

# Begins what the catalog notes in a table's `previous_metadata_location` while its files are rewritten. No reader of
# Iceberg's catalogs goes by that column.
_UNDERWAY = "relocating:"
_NONE: Mapping[str, str] = {}
MEND = "Run 'mesh relocate', which makes it a lake of its own"


@dataclass(frozen=True)
class Entry:
    """A table as a SQL catalog has it. `previous` is its metadata file before; `underway` are the places that a
    relocation which has not ended was writing, empty where none is under way."""

    namespace: str
    table: str
    metadata: str
    previous: str | None
    underway: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.namespace}.{self.table}"


def plain(location: str) -> str:
    """A location without what writers spell differently: `file:` before a path, `s3a:` for `s3:`, a last slash."""
    for scheme, spelled in (("file://", ""), ("file:", ""), ("s3a://", "s3://"), ("s3n://", "s3://")):
        if location.startswith(scheme):
            location = spelled + location.removeprefix(scheme)
            break
    return location.rstrip("/")


def within(location: str, place: str) -> bool:
    """Whether a location is a place, or lies in it: `/a/lake2/t` does not lie in `/a/lake`."""
    return f"{plain(location)}/".startswith(f"{plain(place)}/")


def check_warehouse(catalog: Catalog) -> None:
    """Refuse a SQL catalog of which a table lies outside of its warehouse, or whose relocation has not ended.

    Other catalogs do not say where their warehouse is: `check_table` is what holds there. Raises UsageError.
    """
    if not is_sql(catalog):
        return
    own = warehouse(catalog)
    if own and "://" in own and {*"#?"} & {*own}:
        # pyiceberg ends a path there: all files of the lake would be one object, each written over the last.
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
    """Refuse a table whose metadata file lies outside of the folder that it names as the table's own.

    So does that of a copy which was registered in another catalog: all its files are those of the original. Raises
    UsageError.
    """
    own = [table.location(), table.properties.get("write.metadata.path", table.location())]
    if not any(within(table.metadata_location, place) for place in own):
        raise UsageError(
            f"{'.'.join(table.name())}: its metadata file {table.metadata_location} lies outside of the table's own "
            f"folder {table.location()}, as that of a copy does, and names the files there. Nothing was read or "
            f"changed. {MEND}; or use the table where it was."
        )


def strange(catalog: Catalog, entries: Sequence[Entry], own: str) -> list[Entry]:
    """The entries of a SQL catalog that lie neither in its warehouse `own` nor where their namespace puts them."""
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
    """Whether a place is but another name of the warehouse: a link to where a folder was moved, a second mount."""
    database = sql(catalog).engine.url.database
    try:
        if not os.path.samefile(plain(place), plain(own)):
            return False
        if database and os.path.dirname(database) == os.path.dirname(plain(own)):
            # A copy of the catalog with a link to the original's files has another catalog than that place has.
            beside = os.path.join(os.path.dirname(plain(place)), os.path.basename(database))
            return os.path.samefile(beside, database)
    except OSError:
        return False
    return True


def is_sql(catalog: Catalog) -> bool:
    """Whether a catalog is a database that can be asked for the places of all its tables at once."""
    return hasattr(catalog, "engine") and hasattr(catalog, "_iceberg_type_filter")


def sql(catalog: Catalog) -> SqlCatalog:
    """The catalog, which `is_sql`, with its database."""
    return cast("SqlCatalog", catalog)


def warehouse(catalog: Catalog) -> str | None:
    """The warehouse of a catalog, where its own settings say it."""
    found = catalog.properties.get("warehouse")
    return str(found) if found else None


def sql_entries(catalog: Catalog) -> list[Entry]:
    """The tables of a SQL catalog; views of other engines are left out."""
    return _entries(catalog)


def _entries(catalog: Catalog, elsewhere: str | None = None) -> list[Entry]:
    """The entries of a SQL catalog; with `elsewhere` only those that may lie outside of that place, or are noted."""
    from pyiceberg.catalog.sql import IcebergTables as Row
    from sqlalchemy import func, or_, select

    columns = (Row.table_namespace, Row.table_name, Row.metadata_location, Row.previous_metadata_location)
    query = select(*columns).where(Row.catalog_name == catalog.name).order_by(*columns[:2])
    is_table = sql(catalog)._iceberg_type_filter()
    if is_table is not None:
        query = query.where(is_table)
    if elsewhere is not None:
        # LIKE would take upper case for lower in SQLite.
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


def namespace_places(catalog: Catalog) -> dict[str, str]:
    """The places that namespaces of a SQL catalog give to their tables, where they do."""
    from pyiceberg.catalog.sql import IcebergNamespaceProperties as Row
    from sqlalchemy import select

    query = select(Row.namespace, Row.property_value).where(Row.catalog_name == catalog.name)
    with sql(catalog).engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query.where(Row.property_key == "location"))}


def place_of(entry: Entry) -> str | None:
    """The warehouse that a table lies in, where its folder has the table's name; else it cannot be told."""
    folder = entry.metadata.rpartition("/")[0].removesuffix("/metadata")
    ending = f"/{entry.namespace}/{entry.table}"
    return folder.removesuffix(ending) if folder.endswith(ending) else None


def note_underway(catalog: Catalog, entries: Sequence[Entry], place: str) -> None:
    """Note in a SQL catalog that the files of these tables are being rewritten for a place: nobody opens it then."""
    changes = []
    for entry in entries:
        places = [each for each in entry.underway if plain(each) != plain(place)]
        noted = json.dumps({"places": [*places, place], "previous": entry.previous}, ensure_ascii=False)
        changes.append((entry, entry.metadata, _UNDERWAY + noted))
    point(catalog, changes)


def point(
    catalog: Catalog, changes: Sequence[tuple[Entry, str, str | None]], namespaces: Mapping[str, str] = _NONE
) -> None:
    """Make a SQL catalog name other metadata files, each with what it notes as the one before, all or none of them.

    `namespaces` are the new places of namespaces. What somebody else has changed meanwhile stays.
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
