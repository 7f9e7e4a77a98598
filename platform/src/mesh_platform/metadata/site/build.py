"""Building the site: reads what pages are made from, and writes those that changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mesh_platform.cache.cache import Cache, read_stored, write_stored
from mesh_platform.errors import ContractError, Problem
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.mesh.remembered import read_remembered
from mesh_platform.metadata.graph import mesh_graph
from mesh_platform.metadata.site.again import Changes, Notes, notes_of, part_again
from mesh_platform.metadata.site.changes import contract_changes
from mesh_platform.metadata.site.facts import Facts
from mesh_platform.metadata.site.pages import product_pages, shared_pages
from mesh_platform.metadata.site.render import Renderer, SiteFile, asset_files
from mesh_platform.metadata.site.sources import look_at
from mesh_platform.metadata.site.write import Progress, Written, is_sound, read_manifest, write_site
from mesh_platform.sql.model import read_models_remembered

if TYPE_CHECKING:
    from mesh_platform.metadata.site.lake_facts import LakeFacts


@dataclass(frozen=True)
class Built:
    """What a build did: files written, why products have no lineage, and whether a lake was read."""

    written: Written
    problems: Sequence[Problem]
    has_read_lake: bool


@dataclass(frozen=True)
class Place:
    """Where a build reads and writes: the mesh below `root`, the site in `folder`, notes for the next build."""

    root: Path
    folder: Path
    notes: Path


ReadLake: TypeAlias = "Callable[[Mesh], LakeFacts | None]"


def build_site(
    place: Place,
    cache: Cache,
    read_lake: ReadLake | None,
    progress: Progress = lambda pages: nullcontext(lambda steps: None),
) -> Built:
    """Write the catalog; after few changes, from what they touch alone. Without `read_lake` there is no lake.

    Raises ContractError, and UsageError if a file of somebody else is in the way.
    """
    notes: Notes | None = read_stored(place.notes)
    if notes is not None and notes.root != place.root:
        notes = None
    sources = look_at(place.root, notes.sources if notes else None)
    changes = contract_changes(place.root)
    again = None
    if notes is not None and read_lake is None:
        again = part_again(notes, sources, cache, changes, _lost(place.folder, notes.pages))
    facts = again.facts if again else read_facts(place.root, cache, read_lake, changes)
    renderer = Renderer(cache)
    with ExitStack() as stack:
        if facts.lake:
            stack.callback(facts.lake.close)
        names = again.products if again else facts.whole.products
        pages = {name: renderer.files(product_pages(facts, name)) for name in names}
        files = _files(facts, pages, renderer)
        sourced: dict[str, Mapping[str, str]] = {
            name: {path: file.source for path, file in own.items()} for name, own in pages.items()
        }
        if again and notes:
            kept = {name: own for name, own in notes.pages.items() if name not in again.products}
            # Only if another build has written to the folder meanwhile.
            whole = once(lambda: site_files(read_facts(place.root, cache, None, changes), cache))
            files |= {
                path: SiteFile(source, partial(lambda path: whole()[path].render(), path))
                for own in kept.values()
                for path, source in own.items()
            }
            sourced |= kept
        as_of = facts.lake.now if facts.lake else None
        written = write_site(
            place.folder,
            {path: file.source for path, file in files.items()},
            lambda path: files[path].render(),
            progress,
            as_of,
        )
    cache.save(is_part=again is not None)
    if read_lake is None:
        if again and notes:
            left = replace(notes, sources=sources, whole=facts.whole, changes=changes, pages=sourced)
        else:
            left = notes_of(place.root, sources, facts, sourced)
        write_stored(place.notes, left)
    return Built(written, sorted(facts.whole.problems.values()), facts.lake is not None)


def read_facts(root: Path, cache: Cache, read_lake: ReadLake | None, changes: Changes) -> Facts:
    """Read all that pages are made from. Raises ContractError."""
    mesh, problems = read_remembered(root, cache)
    if problems:
        raise ContractError(problems)
    graph = mesh_graph(mesh, read_models_remembered(mesh, cache), cache)
    graph.columns.trace(graph.columns.relations)
    return Facts(graph, read_lake(mesh) if read_lake else None, changes)


def site_files(facts: Facts, cache: Cache) -> dict[str, SiteFile]:
    """Return the files that the catalog consists of, by path."""
    renderer = Renderer(cache)
    pages = {name: renderer.files(product_pages(facts, name)) for name in facts.whole.products}
    return _files(facts, pages, renderer)


def _files(facts: Facts, pages: Mapping[str, Mapping[str, SiteFile]], renderer: Renderer) -> dict[str, SiteFile]:
    own = {path: file for files in pages.values() for path, file in files.items()}
    return renderer.files(shared_pages(facts)) | own | asset_files()


def _lost(folder: Path, pages: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield the products of which a page in the folder is not as it was made."""
    known = read_manifest(folder)
    for name, own in pages.items():
        if not all(is_sound(folder, path, source, known.get(path)) for path, source in own.items()):
            yield name
