"""`mesh explain`, `lineage`, `find`, `catalog` and `export`: what the mesh knows of itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mesh_platform.cli.collector import without_collector
from mesh_platform.cli.completion import complete, domains, products, tags
from mesh_platform.cli.output import format_option, read_settings, write_json, writing
from mesh_platform.files import write_whole
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.text import counted, shortened

if TYPE_CHECKING:
    from mesh_platform.cache.cache import Cache
    from mesh_platform.lake.drift import Difference
    from mesh_platform.mesh.mesh import Mesh
    from mesh_platform.metadata.graph import Graph
    from mesh_platform.metadata.lineage_report import Direction
    from mesh_platform.metadata.site.lake_facts import LakeFacts
    from mesh_platform.settings import Settings

# Letters of a description in a table.
_DESCRIBED = 70
_FEW_PAGES = 200
# The columns of an explained product that a narrow terminal does not show, the first of them first.
_GIVE_WAY = ("classification", "required", "from", "description")
# In the state folder.
_SITE, _CACHE, _NOTES = "catalog", "catalog-cache", "catalog-notes"


@click.command(short_help="Show a product's owner, promises, columns and lineage, or those of a dashboard or chart.")
@click.argument("name", shell_complete=complete(domains, products, tags))
@click.option("--wide", is_flag=True, help="Show everything about each column, however narrow the terminal is.")
@format_option
@without_collector
def explain(name: str, wide: bool, output_format: str) -> None:
    """Show the owner, the promises and the columns of a product, and where each column comes from; of a dashboard its
    charts, and of a chart what it shows and from where. Every other name that a command prints can be asked for, too:
    tables, views, columns, terms, people, domains.

    \b
    mesh explain logistics_core.fact_orders
    mesh explain logistics_core.fact_orders.amount_usd
    mesh explain logistics_core.order_v1
    mesh explain logistics_core.deliveries
    mesh explain logistics_core.deliveries.violations_by_weather
    """
    from mesh_platform.cli.progress import tell
    from mesh_platform.cli.text_table import wrapped, write_table
    from mesh_platform.metadata.explain import explain as run

    facts = run(load_remembered(read_settings()), name)
    if output_format == "json":
        write_json(facts)
        return
    columns = facts.pop("charts" if "charts" in facts else "columns")
    kind = next(iter(facts))
    words = ". ".join(filter(None, (facts.pop("title", None), facts.pop("description"))))
    click.echo(wrapped(f"{facts.pop(kind)} {facts.pop('version', kind)}: {words}") + "\n")
    for name, value in facts.items():
        if value not in (None, [], False):
            click.echo(wrapped(f"  {name:<15} {', '.join(value) if isinstance(value, list) else value}", indent=18))
    if not columns:
        return
    click.echo()
    # Most products have neither, and the table is wide.
    unused = [
        name for name in ("deprecated", "synonyms", "expression") if not any(each.get(name) for each in columns)
    ]
    left_out = write_table(
        [
            {
                name: ", ".join(value) or None if isinstance(value, list) else value
                for name, value in column.items()
                if name not in unused
            }
            for column in columns
        ],
        # A pipe has all of them, however wide.
        optional=_GIVE_WAY if sys.stdout.isatty() and not wide else (),
    )
    if left_out:
        tell(wrapped(f"Not shown: {', '.join(left_out)}. '--wide' and '--format json' have everything."))


@click.command(short_help="Show what a table or column is computed from, or what is computed from it.")
@click.argument("name", metavar="<domain>.<table>[.<column>]", shell_complete=complete(products))
@click.option("--up", "direction", flag_value="up", default=True, help="Show what it is computed from (default).")
@click.option("--down", "direction", flag_value="down", help="Show what is computed from it.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "mermaid"]),
    default="text",
    help="text: a tree; json: one JSON value; mermaid: a diagram for Markdown.",
)
def lineage(name: str, direction: Direction, output_format: str) -> None:
    """Show the lineage of a column, or of a table with all its columns, from the fields of events to views.

    \b
    mesh lineage logistics_core.fact_orders.amount_usd
    mesh lineage north_warehouse.orders_north__raw.amount --down

    Values are copied or computed from columns. Columns that a table is filtered, joined or grouped by decide which
    rows it has. `queue:<product>` are the events as sent, `file:<path>` is reference data, and `chart:<name>` a chart
    of a dashboard, which its name alone finds too. It needs no lake.
    """
    from mesh_platform.cli.progress import tell
    from mesh_platform.metadata.lineage_report import as_mermaid, as_text, as_value, lineage_report

    graph = _graph()
    report = lineage_report(graph, name, direction)
    for problem in graph.columns.problems.values():
        tell(f"Without lineage: {problem}")
    if output_format == "json":
        write_json(as_value(report))
    else:
        click.echo(as_text(report) if output_format == "text" else as_mermaid(report))


@click.command(short_help="Find products, columns, terms and people by words.")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Show at most this many.")
@format_option
def find(words: tuple[str, ...], limit: int, output_format: str) -> None:
    """Find what matches all WORDS in its name, description, owner, terms or tags; the best match comes first.

    \b
    mesh find promised delivery
    mesh find pii customer

    A word also finds longer ones that begin with it. It needs no lake.
    """
    from mesh_platform.cli.progress import tell
    from mesh_platform.cli.text_table import write_table
    from mesh_platform.metadata.find import find as run

    found = run(_graph(), " ".join(words))
    shown = [
        {"kind": node.kind, "name": node.name, "domain": domain, "owner": owner, "description": node.description}
        for node, domain, owner in found[:limit]
    ]
    if output_format == "json":
        write_json({"found": len(found), "matches": shown})
        return
    write_table([{**row, "description": shortened(row["description"] or "", _DESCRIBED)} for row in shown])
    if len(found) > limit:
        tell(f"{counted(len(found) - limit, 'more match', 'more matches')}. Add words, or --limit {len(found)}.")


@click.group(short_help="Write products in the form of a standard.")
def export() -> None:
    """Write products in the form of a standard, for other tools."""


@export.command(short_help="Products as Open Data Product Standard documents.")
@click.argument("product", metavar="<domain>.<product>|all", shell_complete=complete(products))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.  [default: stdout]"
)
def odps(product: str, out: Path | None) -> None:
    """Write a product, or all, as documents of the Open Data Product Standard (ODPS) v1.0.0.

    \b
    mesh export odps logistics_core.fact_orders
    mesh export odps all --out build/odps

    A document has the input and output ports of a product with their contracts, its owners, status, tags and
    promises. `--out` writes `<domain>.<product>.odps.yaml` for each; stdout has YAML documents. It needs no lake.
    """
    import yaml

    from mesh_platform.cli.progress import tell
    from mesh_platform.metadata.odps import odps_document

    graph = _graph()
    mesh = graph.columns.mesh
    names = [*mesh.contracts] if product == "all" else [mesh.contract(product).identifier]
    texts = {name: yaml.safe_dump(odps_document(graph, name), sort_keys=False, allow_unicode=True) for name in names}
    if out is None:
        click.echo("---\n".join(texts.values()), nl=False)
        return
    with writing(out):
        for name, text in texts.items():
            write_whole(out / f"{name}.odps.yaml", text.encode())
    tell(f"{counted(len(texts), 'document')} written to {out}.")


@export.command(name="openmetadata", short_help="Requests for OpenMetadata's own `metadata ingest`.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write to.  [default: stdout]")
def requests(out: Path | None) -> None:
    """Write the requests that create what OpenMetadata must hold, as JSON, for its own command `metadata ingest`.

    \b
    mesh export openmetadata --out build/requests.json

    docs/openmetadata.md says how to ingest them. They only create: `mesh catalog publish` changes and removes too.
    """
    import json

    from mesh_platform.cli.progress import tell
    from mesh_platform.metadata.openmetadata.entities import DEFAULT_NAMESPACE, desired
    from mesh_platform.metadata.openmetadata.requests import requests_for_ingest

    found = [*requests_for_ingest(desired(_graph(), DEFAULT_NAMESPACE, read_settings().superset_url))]
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return
    with writing(out):
        write_whole(out, text.encode())
    tell(f"{counted(len(found), 'request')} written to {out}.")


def _graph() -> Graph:
    from mesh_platform.metadata.graph import mesh_graph
    from mesh_platform.sql.model import read_models

    mesh = load_remembered(read_settings())
    return mesh_graph(mesh, read_models(mesh))


@click.group(short_help="Make the catalog of the mesh, and keep others in step.")
def catalog() -> None:
    """Make the catalog of the mesh, a site that opens from a file, and keep other catalogs in step with the mesh."""


@catalog.command(short_help="Write the catalog as pages that open from a file.")
@click.option("--out", type=click.Path(path_type=Path), help="Its folder; by default catalog/ in the state folder.")
@click.option("--no-lake", is_flag=True, help="Read the contracts alone, even if there is a lake.")
@format_option
@without_collector
def build(out: Path | None, no_lake: bool, output_format: str) -> None:
    """Write a page for each product, domain, term, person and release, with search, plots and lineage.

    \b
    mesh catalog build
    mesh catalog build --out site

    Open index.html in a browser: it needs no server and no network. A second build writes only the pages that
    changed. Without a lake the pages say what they lack. No value of a column that is personal or confidential, or
    copied from or to one, is in any page.
    """
    from mesh_platform.cache.cache import Cache
    from mesh_platform.metadata.site.build import Place, build_site

    settings = read_settings()
    cache = Cache(settings.state_dir / _CACHE)
    place = Place(settings.root, out or settings.state_dir / _SITE, settings.state_dir / _NOTES)
    has_lake = settings.has_lake and not no_lake
    read_lake = partial(_read_lake, settings, cache, settings.now, is_shown=True) if has_lake else None
    with writing(place.folder):
        built = build_site(place, cache, read_lake, _page_progress)
    for problem in built.problems:
        click.echo(f"Without lineage: {problem}", err=True)
    index, written = (place.folder / "index.html").resolve(), built.written
    if output_format == "json":
        write_json({"index": index, "lake": built.has_read_lake, **asdict(written)})
        return
    if not built.has_read_lake:
        click.echo("No lake was read: the pages say what they lack.", err=True)
    done = f"{counted(written.written, 'file')} written, {written.unchanged} unchanged, {written.removed} removed"
    click.echo(f"{done}; {written.size / 1e6:.1f} MB.\nOpen {index.as_uri()}")


def _page_progress(pages: int) -> AbstractContextManager[Callable[[int], None]]:
    """Return a progress bar for so many pages; few need none, and are written before it would be imported."""
    if pages < _FEW_PAGES:
        return nullcontext(lambda steps: None)
    from mesh_platform.cli.progress import progress_bar

    return progress_bar("Write the catalog", pages, "page")


def _read_lake(
    settings: Settings, cache: Cache, now: Callable[[], datetime], mesh: Mesh, is_shown: bool = False
) -> LakeFacts | None:
    """Return what the lake says, with ages relative to `now`; None if it has no table yet.

    If its samples are shown to somebody, that is recorded.
    """
    from mesh_platform.lake.audit import write_record
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.metadata.site.lake_facts import SAMPLED_AS, LakeFacts
    from mesh_platform.policy.pseudonyms import Salts
    from mesh_platform.query.asked import asked
    from mesh_platform.query.state_cache import StateCache

    counts, opened = StateCache(settings.state_dir / "counted.json"), open_catalog(settings)
    lake = LakeFacts(mesh, opened, now(), counts, cache, Salts(state=settings.state_dir))
    if not lake.status:
        return None
    if is_shown:
        write_record(opened, asked(mesh, "catalog", SAMPLED_AS, tables=mesh.contracts))
    return lake


@catalog.command(short_help="Say where contracts, lake and catalog differ.")
@click.option("--out", type=click.Path(path_type=Path), help="The catalog's folder; as in 'mesh catalog build'.")
@click.option("--no-lake", is_flag=True, help="Compare contracts and pages alone, even if there is a lake.")
@format_option
@without_collector
def verify(out: Path | None, no_lake: bool, output_format: str) -> None:
    """Compare the lake and the catalog with what contracts and SQL say now, and list each difference.

    \b
    mesh catalog verify
    mesh catalog verify --out site --format json

    A line has where it is (lake, catalog, openmetadata), what, what is expected, what is there, and how to mend it.
    It looks at the columns, key, partitions, sort order and properties of each table; at tables that no contract
    names; at each byte of each page, with ages as of its build; and, where MESH_OPENMETADATA_URL is set, at
    OpenMetadata. It changes nothing.

    Exit code 1: there is a difference.
    """
    from mesh_platform.cache.cache import Cache
    from mesh_platform.cli.progress import tell
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.lake.drift import lake_differences
    from mesh_platform.metadata.site.build import read_facts, site_files
    from mesh_platform.metadata.site.changes import contract_changes
    from mesh_platform.metadata.site.verify import site_differences
    from mesh_platform.metadata.site.write import read_as_of

    settings = read_settings()
    folder = out or settings.state_dir / _SITE
    # It is not saved.
    cache = Cache(settings.state_dir / _CACHE)
    is_read = settings.has_lake and not no_lake
    read_lake = partial(_read_lake, settings, cache, lambda: read_as_of(folder) or settings.now())
    facts = read_facts(settings.root, cache, read_lake if is_read else None, contract_changes(settings.root))
    found = [*lake_differences(facts.mesh, open_catalog(settings))] if is_read else []
    command = " ".join(["mesh catalog build", *(["--out", str(out)] if out else []), *["--no-lake"] * no_lake])
    found += site_differences(site_files(facts, cache), folder, command)
    if facts.lake is not None:
        facts.lake.close()
    if settings.openmetadata_url:
        found += _openmetadata_differences(settings, facts.graph)
    if output_format == "json":
        write_json([asdict(difference) for difference in found])
    else:
        for difference in found:
            click.echo(str(difference))
    if not is_read:
        tell("No lake was read.")
    if not found:
        tell("No difference.")
    sys.exit(1 if found else 0)


def _openmetadata_differences(settings: Settings, graph: Graph) -> list[Difference]:
    from mesh_platform.lake.drift import Difference
    from mesh_platform.metadata.openmetadata.client import client_of
    from mesh_platform.metadata.openmetadata.entities import DEFAULT_NAMESPACE, desired
    from mesh_platform.metadata.openmetadata.plan import make_plan

    words = {"create": "is missing", "update": "differs", "remove": "is of something that is gone"}
    mend = "Run 'mesh catalog publish --to openmetadata'."
    wanted = desired(graph, DEFAULT_NAMESPACE, settings.superset_url)
    return [
        Difference(
            "openmetadata",
            None,
            f"{step.entity} {step.fqn}",
            " in ".join(filter(None, (words[step.action], ", ".join(step.fields) * (step.action == "update")))),
            None if step.action == "remove" else "as the mesh says",
            {"create": None, "update": "other values", "remove": f"a {step.entity}"}[step.action],
            mend,
        )
        for step in make_plan(client_of(settings), wanted, DEFAULT_NAMESPACE).steps
    ]


@catalog.command(short_help="Bring OpenMetadata in step with the mesh.")
@click.option("--to", type=click.Choice(["openmetadata"]), required=True, help="The catalog.")
@click.option("--plan", "mode", flag_value="plan", help="Show what would be done; change nothing.")
@click.option("--check", "mode", flag_value="check", help="As --plan; exit with 1 if anything would be done.")
@format_option
@without_collector
def publish(to: str, mode: str | None, output_format: str) -> None:
    """Bring a catalog in step with contracts, SQL and DAGs: create and update what differs, remove what is gone.

    Of a lake it sends runs, results of rules and sizes, each once.

    \b
    mesh catalog publish --to openmetadata --plan
    mesh catalog publish --to openmetadata

    MESH_OPENMETADATA_URL has the address and MESH_OPENMETADATA_TOKEN the token of a bot. What people add to the
    catalog stays. If it is stopped, the next call does what is left.
    """
    from mesh_platform.cli.progress import progress_bar, tell
    from mesh_platform.cli.text_table import write_table
    from mesh_platform.metadata.openmetadata import apply
    from mesh_platform.metadata.openmetadata.client import client_of
    from mesh_platform.metadata.openmetadata.entities import DEFAULT_NAMESPACE, desired
    from mesh_platform.metadata.openmetadata.lake_records import records_of
    from mesh_platform.metadata.openmetadata.plan import make_plan

    settings = read_settings()
    client = client_of(settings)
    graph = _graph()
    wanted = desired(graph, DEFAULT_NAMESPACE, settings.superset_url)
    records = records_of(settings, graph.columns.mesh, DEFAULT_NAMESPACE)
    if mode:
        steps = make_plan(client, wanted, DEFAULT_NAMESPACE, records).steps
    else:
        with progress_bar("publish", None, "step") as advance:
            steps = apply.publish(client, wanted, DEFAULT_NAMESPACE, records, advance)
    rows = [step.as_value() for step in steps]
    if output_format == "json":
        write_json(rows)
    elif rows:
        write_table([{**row, "fields": ", ".join(row["fields"])} for row in rows])
    if not rows:
        tell(f"{to}: in step with the mesh.")
    if mode == "check" and rows:
        sys.exit(1)


@catalog.command(short_help="Check the version of OpenMetadata and that the token works.")
@format_option
def doctor(output_format: str) -> None:
    """Check that OpenMetadata answers, that its version is one that the mesh is made for, and that the token works.

    \b
    mesh catalog doctor
    """
    from mesh_platform.cli.text_table import write_table
    from mesh_platform.metadata.openmetadata.client import check_server, client_of

    found = check_server(client_of(read_settings()))
    if output_format == "json":
        write_json(found)
    else:
        write_table([found])
