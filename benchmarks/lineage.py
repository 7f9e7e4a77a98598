"""Column lineage of three thousand products: whether it is right, what it takes, and what a change reaches."""

from __future__ import annotations

from statistics import median
from time import process_time

import sqlglot
from mesh_platform.governance.change.impact import Impact
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.metadata.columns import Columns, Edge
from mesh_platform.sql.model import Model, read_models
from mesh_platform.sql.relations import relation_schemas
from sqlglot.optimizer.qualify import qualify

from benchmarks.big_mesh import PRODUCTS, write_big_mesh
from benchmarks.figures import Bench

TIMES = 3
_FLOOR = "parsing and qualifying each model once by sqlglot"


def measure(bench: Bench) -> None:
    """Trace every model of a generated mesh, whose true edges are known, beside the least that sqlglot could do."""
    with bench.scratch() as folder:
        true = write_big_mesh(folder, bench.size(PRODUCTS, least=50))
        mesh = load_mesh(folder)
        models = read_models(mesh)
        ours, floor = [], []
        for _ in range(TIMES):
            floor.append(_qualify(mesh, models))
            begin = process_time()
            columns = Columns(mesh, models)
            columns.trace(models)
            ours.append(process_time() - begin)
        found = {edge for name in models for edge in columns.edges(name) if not edge.source.startswith("file:")}
        products = f"{len(mesh.contracts):,} products"
        bench.add(f"lineage, {products}, edges that are missing or wrong", len(found ^ true), "", at_most=0)
        bench.add(f"lineage, {products}, edges", len(found), "")
        bench.add(f"lineage, {products}, CPU", median(ours), "s")
        bench.add(f"lineage, {products}, ratio", median(ours) / median(floor), "x", against=_FLOOR, at_most=1.3)
        bench.add(f"impact of a column, {products}, CPU", median(_reach(mesh, models, true)), "s", at_most=2)


def _qualify(mesh: Mesh, models: dict[str, Model]) -> float:
    schemas = relation_schemas(mesh)
    begin = process_time()
    for model in models.values():
        schema: dict[str, dict[str, dict[str, str]]] = {}
        for relation in model.inputs:
            namespace, table = relation.split(".")
            columns = {field.name: field.type.duckdb for field in schemas[relation].fields}
            schema.setdefault(namespace, {})[table] = columns
        qualify(sqlglot.parse_one(model.sql, dialect="duckdb"), schema=schema, dialect="duckdb")
    return process_time() - begin


def _reach(mesh: Mesh, models: dict[str, Model], true: set[Edge]) -> list[float]:
    """Seconds to find what the column with the most dependents reaches, with nothing traced before."""
    counts: dict[tuple[str, str], int] = {}
    for edge in true:
        counts[edge.source, edge.source_column] = counts.get((edge.source, edge.source_column), 0) + 1
    widest = max(counts, key=lambda column: counts[column])
    times = []
    for _ in range(TIMES):
        begin = process_time()
        assert Impact(mesh, models).affected([widest])
        times.append(process_time() - begin)
    return times
