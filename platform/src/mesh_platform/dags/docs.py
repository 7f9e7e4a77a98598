"""The Markdown pages of DAGs and tasks in Airflow's UI, from contracts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from mesh_platform.contract.contract import Contract, Field, TableSchema
from mesh_platform.lake.tables import landing_name, quarantine_name
from mesh_platform.mesh.mesh import Domain, Mesh
from mesh_platform.text import shown


def dag_page(domain: Domain, what: str, contracts: Iterable[Contract], related: Sequence[str]) -> str:
    """The page of a DAG: what it does, its owners, its products, and the `related` DAGs."""
    owners = domain.owners
    products = "".join(f"- **{c.table.name}**: {_line(c.description)}\n" for c in contracts)
    links = ", ".join(f"[{name}](/dags/{name})" for name in related)
    return (
        f"{what}\n\n### {domain.name}\n\n{domain.description}\n\n"
        f"- Owner: {owners.team}, {owners.contact}\n- At night: {owners.on_call}\n"
        f"- Data steward: {owners.steward}\n\n"
        f"### Products\n\n{products}\n### Related DAGs\n\n{links}\n"
    )


def event_page(mesh: Mesh, contract: Contract) -> str:
    """The page of the task that lands a product's events."""
    assert contract.event is not None, f"{contract.identifier} has no event"
    head = f"Ingests the events of `{contract.identifier}`: valid ones go to `{landing_name(contract)}`, the others"
    return f"{head} to `{quarantine_name(contract)}`.\n\n{_body(mesh, contract, contract.event)}"


def table_page(mesh: Mesh, contract: Contract) -> str:
    """The page of the task that builds a product's table."""
    domain = mesh.domains[contract.domain]
    made = domain.product_kind(contract) == "model"
    source = domain.model_path(contract) if made else domain.reference_path(contract)
    return (
        f"Builds `{contract.identifier}` by `{shown(source, mesh.root)}`.\n\n{_body(mesh, contract, contract.table)}"
    )


def _body(mesh: Mesh, contract: Contract, schema: TableSchema) -> str:
    days = " of workdays" if contract.calendar else ""
    promise = f"\n- Fresh within {words(contract.freshness)}{days}" if contract.freshness else ""
    columns = "".join(map(_column, schema.fields))
    return (
        f"{contract.description}\n\n- Contract: `{contract.path}`, version {contract.version}{promise}\n\n"
        f"### Columns\n\n{columns}"
    )


def _column(field: Field) -> str:
    marks = [
        mark for mark, holds in (("primary key", field.key), ("personal", field.classification == "pii")) if holds
    ]
    marks += [f"points to {'.'.join(field.references)}"] if field.references else []
    return f"- **{field.name}** ({', '.join([field.type.name, *marks])}): {_line(field.description)}\n"


def _line(text: str) -> str:
    return " ".join(text.split())


def words(span: timedelta) -> str:
    """A time span in words: `45 minutes` below two hours, `24.2 hours` below two days, else `30 days`."""
    for unit, seconds, enough in (("minutes", 60, 120), ("hours", 3600, 48)):
        if span.total_seconds() < enough * seconds:
            return f"{span.total_seconds() / seconds:.1f}".removesuffix(".0") + f" {unit}"
    return f"{span.total_seconds() / 86400:.1f}".removesuffix(".0") + " days"
