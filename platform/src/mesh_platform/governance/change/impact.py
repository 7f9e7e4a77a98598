"""The columns downstream that depend on some columns, by the models, the views and the charts of a mesh."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlglot import exp

from mesh_platform.governance.change.consumers import Consumers
from mesh_platform.lake.tables import split_name
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.columns import CHART, Column, Columns, Edge
from mesh_platform.sql.lineage import Lineage, Query
from mesh_platform.sql.model import Model
from mesh_platform.sql.relations import relation_schemas
from mesh_platform.sql.syntax import name_of


@dataclass(frozen=True)
class Affected:
    """A column of a table, view or chart that depends on others; if `column` is None, only its rows do."""

    table: str
    column: str | None


class Impact:
    """The dependencies between the columns of `mesh` by its `models`; `before` are those before a change."""

    def __init__(self, mesh: Mesh, models: Mapping[str, Model], before: Impact | None = None) -> None:
        self.mesh, self._before = mesh, before
        self.consumers = Consumers(mesh, models)
        self._columns = Columns(mesh, models)
        self._schemas = relation_schemas(mesh)

    def affected(self, starts: Iterable[Column]) -> set[Affected]:
        """Everything published that depends on these (relation, column) through any number of models and views.

        Charts have the names of their relations, `chart:<domain>.<dashboard>.<chart>`.
        """
        edges = self._columns.down(starts, self._guessed)
        # Held rows are private to the domain, and are computed as the product's are.
        found = {
            Affected(e.target, e.target_column)
            for e in edges
            if e.target.startswith(CHART) or split_name(e.target)[1] == "product"
        }
        values = {each.table for each in found if each.column is not None}
        return {each for each in found if each.column is not None or each.table not in values}

    def broken_charts(self, changed: Iterable[Column]) -> set[Affected]:
        """The charts whose SQL fitted before the change and does not now, and that name one of these columns in it.

        A dataset that selects a column which is gone breaks its other charts as well.
        """
        found = set()
        for relation, column in changed:
            for chart in self._columns.readers.get(relation, ()):
                by = self._columns.relations[chart].by
                is_named = isinstance(by, Query) and re.search(rf"\b{re.escape(column)}\b", by.sql, re.IGNORECASE)
                if chart.startswith(CHART) and is_named and self._before and not self._fits(chart):
                    found |= {Affected(chart, None)} if self._before._fits(chart) else set()
        return found

    def _fits(self, chart: str) -> bool:
        return self._columns.lineage(chart) != Lineage({})

    def fitted(self, table: str, other: Impact) -> bool:
        """Whether the table has a lineage here, by the same SQL as in `other`."""
        model = self._columns.models.get(table)
        same = model is not None and model.sql == other._columns.models[table].sql
        return same and bool(self._columns.lineage(table).columns)

    def _guessed(self, start: Column) -> Iterable[Edge]:
        """Yield the edges from a column to those of models whose SQL does not fit what it reads.

        It has no lineage. Unless the same SQL fitted before the change, each of its columns may depend on a column
        that it names.
        """
        for relation in self._columns.readers.get(start[0], ()):
            broken = relation in self._columns.problems and not (self._before and self._before.fitted(relation, self))
            if broken and self._mentions(self._columns.models[relation], *start):
                names = self.mesh.contracts[relation].table.by_name
                yield from (Edge(*start, relation, name, "computed") for name in names)

    def _mentions(self, model: Model, relation: str, column: str) -> bool:
        """Whether the SQL names the column anywhere, such as in a condition."""
        aliases = {table.alias_or_name.lower(): name_of(table) for table in model.tree.find_all(exp.Table)}
        others = [self._schemas[name].by_name for name in model.inputs if name != relation and name in self._schemas]
        for node in model.tree.find_all(exp.Column):
            if node.name.lower() != column:
                continue
            named = aliases.get(node.table.lower()) if node.table else None
            if named == relation or (named is None and not any(column in names for names in others)):
                return True
        return False
