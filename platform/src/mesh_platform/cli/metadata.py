"""`mesh explain`, `lineage`, `find` and `export`: what the mesh knows of itself."""

from __future__ import annotations

from pathlib import Path

import click

from mesh_platform.cli.output import format_option, read_settings, tell, write_json, write_table
from mesh_platform.files import write_whole
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

    settings = read_settings()
    mesh = load_mesh(settings.root)
    facts = explain_product(mesh, mesh.contract(product))
    if output_format == "json":
        write_json(facts)
        return
    columns = facts.pop("columns")
    click.echo(f"{facts.pop('product')} {facts.pop('version')}: {facts.pop('description')}\n")
    for name, value in facts.items():
        if value not in (None, [], False):
            click.echo(f"  {name:<15} {', '.join(value) if isinstance(value, list) else value}")
    click.echo()
    # Most products have neither, and the table is wide.
    unused = [name for name in ("deprecated", "synonyms") if not any(column[name] for column in columns)]
    write_table(
        [
            {
                name: ", ".join(value) or None if isinstance(value, list) else value
                for name, value in column.items()
                if name not in unused
            }
            for column in columns
        ]
    )


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


@click.group(short_help="Write products in the form of a standard.")
def export() -> None:
    """Write products in the form of a standard, for other tools."""


@export.command(short_help="Products as Open Data Product Standard documents.")
@click.argument("product", metavar="<domain>.<product>|all")
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

    from mesh_platform.metadata.graph import mesh_graph
    from mesh_platform.metadata.odps import odps_document
    from mesh_platform.sql.model import read_models

    mesh = load_mesh(read_settings().root)
    names = [*mesh.contracts] if product == "all" else [mesh.contract(product).identifier]
    graph = mesh_graph(mesh, read_models(mesh))
    texts = {name: yaml.safe_dump(odps_document(graph, name), sort_keys=False, allow_unicode=True) for name in names}
    if out is None:
        click.echo("---\n".join(texts.values()), nl=False)
        return
    for name, text in texts.items():
        write_whole(out / f"{name}.odps.yaml", text.encode())
    tell(f"{counted(len(texts), 'document')} written to {out}.")


def _short(text: str | None) -> str:
    first = " ".join((text or "").split())
    return first if len(first) <= 70 else f"{first[:69].rstrip()}…"
