"""One SQL model of the mesh over rows that a test makes up: rows of its inputs arrive, rows of its table leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import pyarrow as pa
from mesh_platform.engine.duckdb import registered
from mesh_platform.engine.sql import quoted, table_definition, typed
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.model import read_models
from mesh_platform.sql.relations import create_schemas, relation_schemas


class ModelRows:
    """The model of `table`, ready to run over and over."""

    def __init__(self, mesh: Mesh, table: str) -> None:
        self.model, self.shapes = read_models(mesh)[table], relation_schemas(mesh)
        self.connection = duckdb.connect(config={"python_enable_replacements": "false"})
        self.connection.execute("SET TimeZone = 'UTC'")
        # A handful of rows is faster on one thread.
        self.connection.execute("SET threads = 1")
        create_schemas(self.connection, mesh)
        for relation in self.model.inputs:
            self.connection.execute(table_definition(relation, self.shapes[relation]))

    def run(self, given: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """The table's rows in the order of its key, from `given` rows of its inputs in the order they have there."""
        for relation in self.model.inputs:
            self.connection.execute(f"DELETE FROM {quoted(relation)}")
            fields = self.shapes[relation].fields
            schema = pa.schema([(field.name, field.type.arrow) for field in fields])
            rows = pa.Table.from_pylist(list(given.get(relation, ())), schema=schema)
            with registered(self.connection, "given", rows):
                self.connection.execute(f"INSERT INTO {quoted(relation)} SELECT * FROM given")
        shape = self.model.contract.table
        columns = ", ".join(typed(field) for field in shape.fields)
        found = self.connection.execute(
            f"SELECT {columns} FROM (\n{self.model.sql}\n) AS output ORDER BY {', '.join(map(quoted, shape.key))}"
        )
        return [dict(zip((field.name for field in shape.fields), row, strict=True)) for row in found.fetchall()]
