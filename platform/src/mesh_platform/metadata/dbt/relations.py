"""Which relations of the mesh dbt reads as sources, which it builds as models, and the SQL of these models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from mesh_platform.engine.sql import typed
from mesh_platform.lake.tables import table_named
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.dbt.jinja import plain
from mesh_platform.sql.audit import table_checks
from mesh_platform.sql.model import Model
from mesh_platform.sql.relations import relation_schemas
from mesh_platform.sql.syntax import name_of


@dataclass(frozen=True)
class Relations:
    """The relations of one project, `<namespace>.<table>`; a relation is either a source or a model."""

    sources: tuple[str, ...]
    models: tuple[str, ...]

    def reference(self, name: str) -> str:
        """Return the Jinja call that means the relation `name`."""
        namespace, _, table = name.partition(".")
        return f"ref('{model_name(name)}')" if name in self.models else f"source('{namespace}', '{table}')"


def model_name(name: str) -> str:
    """Return the name of the dbt model for the table `name`; dbt wants names that are unique in a project."""
    return name.replace(".", "__")


def relations_of(mesh: Mesh, models: Mapping[str, Model], role: str | None = None) -> Relations:
    """Return the relations of the project: all products, the unions of interfaces and `mesh.sites`.

    A product is a model if its query reads published relations alone; landing tables are private to their domain. For
    a role every product is a source: from values that are hidden from it, a query would compute others.
    """
    published = [name for name in relation_schemas(mesh) if not _is_landing(mesh, name)]
    built = [
        name
        for name in published
        if role is None and name in models and not any(_is_landing(mesh, each) for each in models[name].inputs)
    ]
    return Relations(tuple(sorted({*published} - {*built})), tuple(sorted(built)))


def model_sql(mesh: Mesh, model: Model, relations: Relations) -> str:
    """Return the SQL of a dbt model: the query of `model`, in the columns and types of its contract.

    As in a build, rows that break a rule with `mesh.onFailure: hold` are left out.
    """
    contract = model.contract
    columns = ",\n    ".join(plain(typed(field)) for field in contract.table.fields)
    checks = table_checks(mesh, contract)
    held = [f"({check.failing}) IS TRUE" for check in checks if check.on_failure == "hold" and check.is_of_rows]
    text = f"select\n    {columns}\nfrom (\n{_translated(model, relations)}\n) as made"
    if held:
        text = f"select * from (\n{text}\n) as checked\nwhere not ({plain(' OR '.join(held))})"
    return f"-- From {plain(model.path)}. `mesh dbt export` replaces this file.\n{text}\n"


def _translated(model: Model, relations: Relations) -> str:
    """Return the text of a query with a Jinja call in the place of each relation; all else is as in the file."""
    places = []
    for table in model.tree.find_all(exp.Table):
        if name_of(table) in model.inputs and "." in name_of(table):
            parts = table.parts
            places.append((parts[0].meta["start"], parts[-1].meta["end"] + 1, relations.reference(name_of(table))))
    pieces, last = [], 0
    for start, end, call in sorted(places):
        pieces += [plain(model.sql[last:start]), f"{{{{ {call} }}}}"]
        last = end
    return "".join([*pieces, plain(model.sql[last:])])


def _is_landing(mesh: Mesh, name: str) -> bool:
    table = table_named(mesh, name)
    return table is not None and table.kind == "landing"
