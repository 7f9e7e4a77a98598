"""Relocate a copied or moved lake: make its files and its catalog name the place where they are now.

First everything is read; if something is missing, nothing is written. Then each file that names an old place is
replaced by one that names the new place: manifests, manifest lists, former metadata, and last the table's metadata.
Then the catalog switches to the new metadata of all tables at once. After an interruption the next call finds what is
replaced already and continues; until the end the catalog records that a relocation is in progress and is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyiceberg.io import load_file_io
from pyiceberg.io.pyarrow import PyArrowFileIO

from mesh_platform import faults
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.iceberg.durable_io import replace_file
from mesh_platform.iceberg.moved_files import Moves, metadata_places, read_metadata
from mesh_platform.iceberg.moved_table import MovedTable, parsed, read_file, rewritten_files, walk
from mesh_platform.iceberg.outage import answering, is_outage
from mesh_platform.iceberg.place import (
    Entry,
    is_name_of,
    is_sql,
    namespace_places,
    note_underway,
    place_of,
    plain,
    point,
    sql,
    sql_entries,
    strange,
    warehouse,
    within,
)
from mesh_platform.text import counted

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

_SHOWN = 5


@dataclass(frozen=True)
class Relocated:
    """What was done to a table at `location` with that many `snapshots`: `rewritten` counts the files replaced.

    `mode` is relocated, or noop if nothing named another place. `came_from` is the old place, if there was one.
    """

    table: str
    mode: str
    came_from: str | None
    location: str
    snapshots: int
    rewritten: int


@answering("", "the lake does not answer", "Mend the catalog or the storage, then relocate again.")
def relocate(
    catalog: Catalog,
    old_places: Sequence[str] = (),
    on_progress: Callable[[str], object] = lambda _table: None,
) -> list[Relocated]:
    """Make all tables of a catalog name the place where its warehouse is now; return a result for each table.

    `old_places` are where the lake was (its warehouse, or its state folder), by default what the catalog names. If
    they are given, every file of every table is examined; otherwise tables whose metadata is in place are skipped.

    Raises UsageError if the old place cannot be determined or is wrong, and if it is the new place by another name.
    Raises AttentionError, before anything is changed, if files are missing or cannot be rewritten.
    """
    job = _Job(catalog, old_places)
    tables = [job.read(entry) for entry in job.entries]
    job.check(tables)
    return job.run(tables, on_progress)


class _Job:
    def __init__(self, catalog: Catalog, given: Sequence[str]) -> None:
        self.catalog = catalog
        self.own = warehouse(catalog) if is_sql(catalog) else None
        self._loaded: dict[str, Any] = {}
        self.entries = sql_entries(catalog) if is_sql(catalog) else list(self._load_all())
        self.deep = bool(given) or any(entry.underway for entry in self.entries)
        self.places = self._old_places(given)
        for place in self.places:
            if self.own and (within(place, self.own) or within(self.own, place)):
                raise UsageError(
                    f"{place} and {self.own}: one lies in the other, so a file's place cannot be told. "
                    "Copy the lake to a folder that is neither, and relocate it there."
                )

    def _load_all(self) -> Iterator[Entry]:
        for namespace in self.catalog.list_namespaces():
            for name in self.catalog.list_tables(namespace):
                table = self.catalog.load_table(name)
                entry = Entry(".".join(name[:-1]), name[-1], table.metadata_location, None)
                self._loaded[entry.name] = table
                yield entry

    def _old_places(self, given: Sequence[str]) -> list[str]:
        if self.own is None:
            return list(given)
        own = self.own
        named = [place for entry in self.entries for place in entry.underway]
        strangers = strange(self.catalog, self.entries, own)
        found = {entry.name: place_of(entry) for entry in strangers}
        places = sorted({place for place in found.values() if place})
        noted = sorted({place for place in named if plain(place) != plain(own)})
        if given:
            chosen = [self._warehouse_in(place) for place in given]
            lost = [e for e in strangers if not any(within(e.metadata, place) for place in chosen)]
            if lost:
                place = found[lost[0].name] or lost[0].metadata
                raise UsageError(
                    f"--from {' --from '.join(given)}: {lost[0].name} lies in {place}. "
                    "Name that place, too; or leave --from out, where all tables come from one place."
                )
            return [*chosen, *(place for place in noted if place not in chosen)]
        unknown = [entry for entry in strangers if not found[entry.name]]
        if unknown:
            raise UsageError(
                f"{unknown[0].name}: its metadata file is {unknown[0].metadata}, which does not tell what its "
                "warehouse was. Name that with --from."
            )
        if len(set(places) - set(noted)) > 1:
            raise UsageError(
                f"{own}: its tables lie in several places: {', '.join(places)}. Where the files of all of them are "
                f"here, name each: mesh relocate {' '.join(f'--from {place}' for place in places)}"
            )
        return [*places, *(place for place in noted if place not in places)]

    def _warehouse_in(self, place: str) -> str:
        """Return the warehouse that a given place is or contains."""
        assert self.own is not None
        inner = f"{plain(place)}/warehouse"
        locations = [entry.metadata for entry in self.entries]
        if any(within(each, inner) for each in locations):
            return inner
        named = any(within(each, place) for each in locations)
        is_state = plain(self.own).endswith("/warehouse") and not plain(place).endswith("/warehouse")
        return inner if is_state and not named else place

    def read(self, entry: Entry) -> MovedTable:
        """Return the files of a table, and which are missing; nothing is changed."""
        moves = Moves(tuple((place, self.own) for place in self.places) if self.own else ())
        metadata_file = moves.apply(entry.metadata)
        table = self._loaded.get(entry.name)
        io = table.io if table else load_file_io(dict(self.catalog.properties), metadata_file)
        if not isinstance(io, PyArrowFileIO):
            raise AttentionError(
                f"{entry.name}: {type(io).__name__} cannot list files. Set py-io-impl to pyiceberg's."
            )
        files = MovedTable(entry, io, moves, metadata_file)
        content = read_file(io, metadata_file)
        if content is None:
            files.missing.append(metadata_file)
            return files
        metadata = parsed(files, metadata_file, lambda: read_metadata(content, metadata_file))
        if metadata is None:
            return files
        named = table.location() if table else metadata["location"]
        folder = metadata_file.rpartition("/")[0].removesuffix("/metadata")
        if moves.find(named) is None and not within(metadata_file, named):
            # It was registered from a copy: the folder that it names was copied to the folder that it is in.
            if within(folder, named) or within(named, folder):
                raise UsageError(f"{entry.name}: {named} and {folder}: one lies in the other. Copy it elsewhere.")
            files.moves = Moves((*moves.pairs, (named, folder)))
        if self.own is None:
            self._check_given(files, named)
        files.location = files.moves.apply(metadata["location"])
        files.snapshots = len(metadata.get("snapshots") or ())
        outside = [entry.metadata, named, *metadata_places(metadata)]
        files.came_from = next((old for old, _ in files.moves.pairs for each in outside if within(each, old)), None)
        if files.moves.pairs and (self.deep or files.came_from):
            walk(files, metadata)
        return files

    def _check_given(self, files: MovedTable, named: str) -> None:
        olds = [old for old, _ in files.moves.pairs]
        if not self.places:
            return
        if not olds and any(within(named, place) for place in self.places):
            raise UsageError(
                f"{files.entry.name}: the catalog itself names {files.entry.metadata}, and does not say where "
                "its own warehouse is. Register the copy's metadata file in the catalog of the copy, then relocate."
            )
        if olds and not any(within(old, place) for old in olds for place in self.places):
            raise UsageError(f"--from {' --from '.join(self.places)}: {files.entry.name} comes from {named}.")

    def check(self, tables: Sequence[MovedTable]) -> None:
        """Raise UsageError or AttentionError if the tables cannot be relocated."""
        for table in tables:
            if table.strangers:
                places = sorted({each.rpartition("/")[0] for each in table.strangers})
                raise UsageError(
                    f"{table.entry.name}: it also names files in {', '.join(places[:_SHOWN])}, which is neither an "
                    "old place nor the new one. Copy those into the lake too, and name their place with another "
                    "--from. Nothing was changed."
                )
        missing = [(table.entry.name, name) for table in tables for name in table.missing]
        if missing:
            shown = "\n".join(f"  {table}: {name}" for table, name in missing[:_SHOWN])
            more = f"\n  and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            number = counted(len(missing), "is", "are")
            raise AttentionError(
                f"{self.own or 'the lake'}: of the files that its tables name, {number} not here, or not whole:\n"
                f"{shown}{more}\nNothing was changed. The copy was not finished, or was taken while the lake was at "
                "work: copy again, catalog.db first and warehouse/ after it, then relocate."
            )
        for table in tables:
            self._check_shared(table)

    def _check_shared(self, table: MovedTable) -> None:
        named = [*table.manifests, *table.lists, *table.former, *table.data, table.metadata]
        own = self.own
        for folder in {plain(each).rpartition("/")[0] for each in named}:
            for old, new in table.moves.pairs:
                if own and plain(new) == plain(own) and is_name_of(self.catalog, old, own):
                    continue
                before = plain(old) + folder.removeprefix(plain(new)) if within(folder, new) else ""
                if "://" not in before and os.path.exists(before) and os.path.samefile(before, folder):
                    raise UsageError(
                        f"{folder}: it is the folder {before}, by another name or by a link, so the files in it are "
                        "those of the original. Copy them, too, then relocate; nothing was changed."
                    )
        for file in map(plain, named):
            # Files of a lake are replaced, never changed, so a hard link is as good as a copy. A symbolic one is not.
            if os.path.islink(file):
                raise UsageError(
                    f"{file}: it is a link to {os.path.realpath(file)}, and this lake loses it when that is removed. "
                    "Copy the files themselves (cp -rL), then relocate; nothing was changed."
                )

    def _check_shared_state(self) -> None:
        """Raise UsageError if the catalog's database, or a file beside it, may be shared with another lake by a link.

        Databases and logs are written in place.
        """
        engine = sql(self.catalog).engine
        database = engine.url.database
        # For other kinds of databases it is a name, not a path.
        if engine.dialect.name != "sqlite" or not database or not os.path.exists(database):
            return
        for file in sorted(each for each in Path(database).parent.iterdir() if each.is_file()):
            if file.is_symlink() or file.stat().st_nlink > 1:
                how = f"is a link to {file.resolve()}" if file.is_symlink() else "has another name too (a hard link)"
                raise UsageError(
                    f"{file}: it {how}, so what is written here may be written to the lake that this one was copied "
                    f"from. Nothing was changed. Put a copy in the place of each link in {file.parent} "
                    "(cp -rL makes copies of links), then relocate."
                )

    def run(self, tables: Sequence[MovedTable], on_progress: Callable[[str], object]) -> list[Relocated]:
        """Rewrite the files of the tables, and make the catalog name them."""
        touched = [table for table in tables if table.came_from or table.entry.underway or _is_stale(table)]
        if is_sql(self.catalog) and touched:
            self._check_shared_state()
            note_underway(self.catalog, [table.entry for table in touched], self.own or touched[0].location)
            faults.point("relocate.noted")
        done = []
        for table in tables:
            rewritten = _rewrite(table) if table in touched else 0
            mode = "relocated" if table in touched else "noop"
            done.append(
                Relocated(table.entry.name, mode, table.came_from, table.location, table.snapshots, rewritten)
            )
            on_progress(table.entry.name)
        if touched:
            faults.point("relocate.rewritten")
            self._point(touched)
        return done

    def _point(self, tables: Sequence[MovedTable]) -> None:
        if is_sql(self.catalog):
            changes = []
            for table in tables:
                previous = table.entry.previous
                changes.append((table.entry, table.metadata, previous and table.moves.apply(previous)))
            moves = Moves(tuple((place, self.own) for place in self.places) if self.own else ())
            namespaces = namespace_places(self.catalog)
            moved = {name: moves.apply(place) for name, place in namespaces.items() if moves.find(place)}
            point(self.catalog, changes, moved)
            return
        for table in tables:
            name = table.entry.name
            if plain(self.catalog.load_table(name).location()) == plain(table.location):
                continue
            # Such a catalog keeps the metadata that it has read, so the rewritten file must be registered again.
            try:
                self.catalog.register_table(name, table.metadata, overwrite=True)
            except Exception as error:
                if is_outage(error):
                    raise
                raise AttentionError(
                    f"{name}: its files are rewritten, but the catalog holds what it read before and does not take "
                    f"it again ({error}). Drop the table without purging it, and register {table.metadata}."
                ) from error


def _is_stale(table: MovedTable) -> bool:
    """Whether any file of a fully examined table names an old place even though its metadata does not."""
    return any(content is not new for _, content, new in rewritten_files(table))


def _rewrite(table: MovedTable) -> int:
    """Replace the files of a table that name an old place; return how many."""
    count = 0
    for location, content, new in rewritten_files(table):
        if new is not content:
            replace_file(table.io, location, new)
            count += 1
            faults.point("relocate.replaced")
    return count
