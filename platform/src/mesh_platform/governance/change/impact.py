"""The columns downstream that depend on some columns, by the models of a mesh."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import SqlglotError

from mesh_platform.governance.change.consumers import Consumers
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.model import Model, lineage
from mesh_platform.sql.relations import relation_schemas
from mesh_platform.sql.syntax import name_of

Column = tuple[str, str]


@dataclass(frozen=True, order=True)
class Affected:
    """A column of a product that depends on others; if `column` is None, only the set of the table's rows does."""

    table: str
    column: str | None


class Impact:
    """The dependencies between the columns of `mesh` by its `models`."""

    def __init__(self, mesh: Mesh, models: Mapping[str, Model]) -> None:
        self.mesh = mesh
        self.consumers = Consumers(mesh, models)
        self._schemas = relation_schemas(mesh)
        self._lineage: dict[str, Mapping[str, list[Column]] | None] = {}

    def affected(self, starts: Iterable[Column]) -> set[Affected]:
        """Everything that depends on these (relation, column) through any number of models, by values or rows."""
        seen = {*starts}
        found: set[Affected] = set()
        waiting = deque(sorted(seen))
        while waiting:
            start = waiting.popleft()
            for relation, column in self._seen_as(start):
                for model in self.consumers.readers.get(relation, ()):
                    table = model.contract.identifier
                    outputs = self._outputs(model, relation, column)
                    found |= {Affected(table, name) for name in outputs}
                    if not outputs and self._mentions(model, relation, column):
                        found.add(Affected(table, None))
                    new = {(table, name) for name in outputs} - seen
                    seen |= new
                    waiting += sorted(new)
        return found

    def _seen_as(self, start: Column) -> list[Column]:
        relation, column = start
        unions = self.consumers.unions.get(relation, ())
        return [start, *((view, column) for view, interface in unions if column in interface.table.by_name)]

    def _outputs(self, model: Model, relation: str, column: str) -> list[str]:
        table = model.contract.identifier
        if table not in self._lineage:
            try:
                self._lineage[table] = lineage(model, self.mesh)
            except (SqlglotError, KeyError, ValueError):
                self._lineage[table] = None
        found = self._lineage[table]
        if found is None:
            # SQL that no longer fits its inputs has no lineage: any of its columns may depend on one that it names.
            return [*model.contract.table.by_name] if self._mentions(model, relation, column) else []
        return [name for name, sources in found.items() if (relation, column) in sources]

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
