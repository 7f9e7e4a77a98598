"""`mesh explain`, `lineage`, `find` and `catalog`: what the mesh knows of itself."""

from __future__ import annotations

import gc
import sys

import click

from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.cli.text_table import write_table
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.text import counted


@click.command(short_help="Show a product's owner, promises, columns and lineage.")
@click.argument("product")
@format_option
def explain(product: str, output_format: str) -> None:
    """Show the owner, the promises and the columns of a product, and where each column comes from.

    \b
    mesh explain logistics_core.fact_orders
    """
    from mesh_platform.metadata.explain import explain_product

    # Everything read is needed until the process ends, which is soon.
    gc.disable()
    mesh = load_mesh(read_settings().root)
    facts = explain_product(mesh, mesh.contract(product))
    if output_format == "json":
        write_json(facts)
        return
    columns = facts.pop("columns")
    click.echo(f"{facts.pop('product')} {facts.pop('version')}: {facts.pop('description')}\n")
    for name, value in facts.items():
        if value not in (None, []):
            click.echo(f"  {name:<15} {', '.join(value) if isinstance(value, list) else value}")
    click.echo()
    write_table([{**column, "from": ", ".join(column["from"]) or None} for column in columns])


@click.command(short_help="Show what a table or column is computed from, or what is computed from it.")
@click.argument("name", metavar="<domain>.<table>[.<column>]")
@click.option("--up", "direction", flag_value="up", default=True, help="Show what it is computed from (default).")
@click.option("--down", "direction", flag_value="down", help="Show what is computed from it.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "mermaid"]),
    default="text",
    help="text: a tree; json: one JSON value; mermaid: a diagram for Markdown.",
)
def lineage(name: str, direction: str, output_format: str) -> None:
    """Show the lineage of a column, or of a table with all its columns, from the fields of events to views.

    \b
    mesh lineage logistics_core.fact_orders.amount_usd
    mesh lineage north_warehouse.orders_north__raw.amount --down

    Values are copied or computed from columns. Columns that a table is filtered, joined or grouped by decide which
    rows it has. `queue:<product>` are the events as sent, `file:<path>` is reference data. It needs no lake.
    """
    from mesh_platform.cli.progress import tell
    from mesh_platform.metadata.graph import mesh_graph
    from mesh_platform.metadata.lineage_report import as_mermaid, as_text, as_value, lineage_report
    from mesh_platform.sql.model import read_models

    mesh = load_mesh(read_settings().root)
    graph = mesh_graph(mesh, read_models(mesh))
    report = lineage_report(graph, name, "down" if direction == "down" else "up")
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
    from mesh_platform.metadata.find import find as run
    from mesh_platform.metadata.graph import mesh_graph
    from mesh_platform.sql.model import read_models

    mesh = load_mesh(read_settings().root)
    found = run(mesh_graph(mesh, read_models(mesh)), " ".join(words))
    shown = [
        {"kind": node.kind, "name": node.name, "domain": domain, "owner": owner, "description": node.description}
        for node, domain, owner in found[:limit]
    ]
    if output_format == "json":
        write_json({"found": len(found), "matches": shown})
        return
    write_table([{**row, "description": _short(row["description"])} for row in shown])
    if len(found) > limit:
        tell(f"{counted(len(found) - limit, 'more match', 'more matches')}. Add words, or --limit {len(found)}.")


@click.group(short_help="Show the mesh in catalogs.")
def catalog() -> None:
    """Show the mesh in catalogs, and keep them in step with it."""


@catalog.command(short_help="Bring OpenMetadata in step with the mesh.")
@click.option("--to", type=click.Choice(["openmetadata"]), required=True, help="The catalog.")
@click.option("--plan", "mode", flag_value="plan", help="Show what would be done; change nothing.")
@click.option("--check", "mode", flag_value="check", help="As --plan; exit with 1 if anything would be done.")
@format_option
def publish(to: str, mode: str | None, output_format: str) -> None:
    """Bring a catalog in step with contracts, SQL and DAGs: create and update what differs, remove what is gone.

    \b
    mesh catalog publish --to openmetadata --plan
    mesh catalog publish --to openmetadata

    MESH_OPENMETADATA_URL has the address and MESH_OPENMETADATA_TOKEN the token of a bot. What people add to the
    catalog stays. If it is stopped, the next call does what is left. It needs no lake.
    """
    from mesh_platform.cli.progress import tell
    from mesh_platform.metadata.graph import mesh_graph
    from mesh_platform.metadata.openmetadata import apply
    from mesh_platform.metadata.openmetadata.client import client_of
    from mesh_platform.metadata.openmetadata.entities import DEFAULT_NAMESPACE, desired
    from mesh_platform.metadata.openmetadata.plan import make_plan
    from mesh_platform.sql.model import read_models

    settings = read_settings()
    client = client_of(settings)
    # Everything read is needed until the process ends; looking through it for garbage takes as long as the work.
    gc.disable()
    mesh = load_mesh(settings.root)
    wanted = desired(mesh_graph(mesh, read_models(mesh)), DEFAULT_NAMESPACE)
    if mode:
        steps = make_plan(client, wanted, DEFAULT_NAMESPACE).steps
    else:
        steps = apply.publish(client, wanted, DEFAULT_NAMESPACE)
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
    from mesh_platform.metadata.openmetadata.client import check_server, client_of

    found = check_server(client_of(read_settings()))
    if output_format == "json":
        write_json(found)
    else:
        write_table([found])


def _short(text: str | None) -> str:
    first = " ".join((text or "").split())
    return first if len(first) <= 70 else f"{first[:69].rstrip()}…"
