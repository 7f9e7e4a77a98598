"""Compare all models, on generated rows and on those of the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from mesh_platform.contract.contract import TableSchema
from mesh_platform.engine.duckdb import own_database
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.spark import Spark
from mesh_platform.engine.sql import quoted, typed
from mesh_platform.errors import ContractError
from mesh_platform.governance.parity.compare import Engines, Finding
from mesh_platform.governance.parity.edge_rows import edge_rows
from mesh_platform.governance.parity.expected import Source, read_expected
from mesh_platform.lake.catalog import arrow_schema
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.query.session import open_session
from mesh_platform.sql.model import Model
from mesh_platform.sql.relations import SITES, create_schemas, relation_schemas

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog

Advance = Callable[[int], None]


def compare_models(
    mesh: Mesh,
    models: Mapping[str, Model],
    catalog: Catalog | None,
    spark: Spark,
    tables: Sequence[str] = (),
    advance: Advance = lambda steps: None,
) -> Iterator[Finding]:
    """Run the models of `tables`, by default all `models` of the mesh, on DuckDB and on Spark; yield how they differ.

    The inputs are generated rows (`edge_rows`), and where there is a `catalog` also the current rows of its tables.
    They are sent to Spark: they must fit into the memory of this process. Raises ContractError for faulty files.
    """
    schemas = relation_schemas(mesh)
    expected, problems = read_expected(mesh)
    if problems:
        raise ContractError(problems)
    chosen = {name: model for name, model in models.items() if not tables or name in tables}
    needed = sorted({relation for model in chosen.values() for relation in model.inputs})
    sources: dict[Source, Mapping[str, pa.Table]] = {"edge": _edge_inputs(mesh, models, schemas, needed)}
    if catalog is not None:
        with open_session(mesh, catalog, only=needed) as session:
            sources["lake"] = {relation: _rows(session, relation, schemas[relation]) for relation in needed}
    for source, inputs in sources.items():
        with own_database() as duckdb:
            duckdb.execute("SET TimeZone = 'UTC'")
            engines = Engines(duckdb, spark, schemas, inputs, source)
            for name, model in sorted(chosen.items()):
                yield engines.compare(model, expected.get((name, source)))
                advance(1)


def _edge_inputs(
    mesh: Mesh, models: Mapping[str, Model], schemas: Mapping[str, TableSchema], needed: Sequence[str]
) -> dict[str, pa.Table]:
    texts = (
        literal for model in models.values() for literal in model.tree.find_all(exp.Literal) if literal.is_string
    )
    words = sorted({literal.name for literal in texts})
    made = {relation: edge_rows(relation, schemas[relation], words) for relation in needed if relation != SITES}
    if SITES in needed:
        with own_database() as connection:
            create_schemas(connection, mesh)
            made[SITES] = _rows(connection, SITES, schemas[SITES])
    return made


def _rows(connection: Connection, relation: str, schema: TableSchema) -> pa.Table:
    columns = ", ".join(typed(field) for field in schema.fields)
    rows = connection.execute(f"SELECT {columns} FROM {quoted(relation)}").to_arrow_table()
    return rows.cast(arrow_schema(schema))
