"""Run one model on DuckDB and on Spark with the same inputs, and say how their rows differ.

A row that DuckDB refuses stops its whole query. So the rows that it refuses are found first; Spark must refuse each
of them too (the first 20 are tried), and return the same rows as DuckDB for all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pyarrow as pa

from mesh_platform.build.model_run import optional_schema, run_model
from mesh_platform.engine.duckdb import registered
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.rows import without
from mesh_platform.engine.spark import Spark
from mesh_platform.engine.sql import quoted
from mesh_platform.errors import AttentionError
from mesh_platform.governance.parity.expected import Expected, Kind, Source
from mesh_platform.sql.model import Model, driving_inputs
from mesh_platform.sql.spark_sql import spark_name, spark_query
from mesh_platform.text import counted

if TYPE_CHECKING:
    from mesh_platform.contract.contract import TableSchema

# Of the rows that DuckDB refuses, Spark is given so many, one by one.
_TRIED = 20
_SHOWN = 3
_OPEN = ("public", "internal")


@dataclass(frozen=True)
class Finding:
    """What one model did with one kind of rows.

    `rows` were compared, and DuckDB refuses `refused` rows of an input. `kind` is None if the engines agree.
    `verdict` also takes into account what is expected: new and cured ones are faults.
    """

    table: str
    source: Source
    rows: int
    refused: int = 0
    kind: Kind | None = None
    details: str = ""
    within_tolerance: bool = False
    expected: Expected | None = None

    @property
    def verdict(self) -> str:
        """One of equal, empty, tolerated, expected, new, cured."""
        if self.expected is None:
            return "new" if self.kind else "equal" if self.rows else "empty"
        if self.kind is None:
            return "cured"
        if self.kind != self.expected.expectation.kind:
            return "new"
        if self.expected.expectation.tolerance:
            return "tolerated" if self.within_tolerance else "new"
        return "expected"

    @property
    def is_fault(self) -> bool:
        """Whether somebody must act."""
        return self.verdict in ("new", "cured") or (self.verdict == "empty" and self.source == "edge")

    @property
    def advice(self) -> str:
        """What differs, and what to do about it."""
        if self.kind is None and self.expected:
            return f"nothing differs. Remove the entry at {self.expected.path}:{self.expected.line}."
        if self.kind is None:
            return "no row was compared. Give the columns of its inputs examples of which it makes rows."
        return f"{self.details}\nMend the model, or write the difference (kind: {self.kind}) into parity.yaml."


class Engines:
    """A session of each engine. Both read `inputs`, the rows of each relation."""

    def __init__(
        self,
        duckdb: Connection,
        spark: Spark,
        schemas: Mapping[str, TableSchema],
        inputs: Mapping[str, pa.Table],
        source: Source,
    ) -> None:
        self._duckdb, self._spark, self._schemas, self._source = duckdb, spark, schemas, source
        self._inputs = inputs
        # The registered rows that the view of each relation shows now.
        self._names: dict[str, str] = {}
        self._numbers = count()
        for namespace in {relation.partition(".")[0] for relation in inputs}:
            duckdb.execute(f"CREATE SCHEMA {quoted(namespace)}")
        for relation, rows in inputs.items():
            spark.register(spark_name(relation), rows)

    def compare(self, model: Model, expected: Expected | None) -> Finding:
        """Run the model on both and compare the rows."""
        with ExitStack() as stack:
            for relation in model.inputs:
                stack.enter_context(self._given(relation, self._inputs[relation]))
            return self._compare(model, expected)

    def _compare(self, model: Model, expected: Expected | None) -> Finding:
        def finding(kind: Kind | None, details: str = "", within: bool = False) -> Finding:
            return Finding(table, self._source, len(wanted), len(refused), kind, details, within, expected)

        table = model.contract.identifier
        relation, sound, refused = self._divide(model)
        with self._only(relation, sound):
            wanted = run_model(self._duckdb, model)
            try:
                found = self._run_spark(model)
            except AttentionError as error:
                return finding("spark", self._said(model, error))
        missing, surplus = without(self._duckdb, wanted, found), without(self._duckdb, found, wanted)
        if len(missing) or len(surplus):
            near = self._are_near(model, missing, surplus, expected)
            return finding("rows", self._shown(model.contract.table, missing, surplus), near)
        taken = [
            row for row in range(min(len(refused), _TRIED)) if self._takes(model, relation, refused.slice(row, 1))
        ]
        if taken:
            row = self._example(self._schemas[relation], refused.slice(taken[0], 1))
            return finding("duckdb", f"DuckDB alone refuses {counted(len(taken), 'row')} of {relation}, as {row}.")
        return finding(None)

    def _divide(self, model: Model) -> tuple[str, pa.Table, pa.Table]:
        """Return a relation, rows of it that DuckDB takes together, and those that it refuses alone."""
        relations = [*dict.fromkeys((*driving_inputs(model), *model.inputs))]
        if not relations:
            return "", pa.table({}), pa.table({})
        if self._runs(model, relations[0], self._inputs[relations[0]]):
            return relations[0], self._inputs[relations[0]], self._inputs[relations[0]].slice(0, 0)
        for relation in relations:
            rows = self._inputs[relation]
            parts = [*self._sound(model, relation, rows)]
            together = pa.concat_tables([rows.slice(0, 0), *parts])
            # A sum can fit for each part and not for all of them. Then the largest part is compared.
            for sound in (together, *sorted(parts, key=len)[-1:]):
                if self._runs(model, relation, sound):
                    return relation, sound, without(self._duckdb, rows, together)
        # It takes none. If it refuses even this, the query itself is at fault, and says so.
        return relations[0], self._inputs[relations[0]].slice(0, 0), self._inputs[relations[0]]

    def _sound(self, model: Model, relation: str, rows: pa.Table) -> Iterator[pa.Table]:
        if len(rows) and self._runs(model, relation, rows):
            yield rows
        elif len(rows) > 1:
            half = len(rows) // 2
            yield from self._sound(model, relation, rows.slice(0, half))
            yield from self._sound(model, relation, rows.slice(half))

    def _runs(self, model: Model, relation: str, rows: pa.Table) -> bool:
        with self._given(relation, rows):
            try:
                run_model(self._duckdb, model)
            except AttentionError:
                return False
        return True

    def _takes(self, model: Model, relation: str, rows: pa.Table) -> bool:
        with self._only(relation, rows):
            try:
                self._run_spark(model)
            except AttentionError:
                return False
        return True

    def _run_spark(self, model: Model) -> pa.Table:
        rows = self._spark.query(spark_query(model, self._schemas, spark_name))
        return rows.cast(optional_schema(model.contract.table))

    @contextmanager
    def _only(self, relation: str, rows: pa.Table) -> Iterator[None]:
        """Within the block, both engines read `rows` as the relation."""
        if not relation or len(rows) == len(self._inputs[relation]):
            yield
            return
        self._spark.register(spark_name(relation), rows)
        try:
            with self._given(relation, rows):
                yield
        finally:
            self._spark.register(spark_name(relation), self._inputs[relation])

    @contextmanager
    def _given(self, relation: str, rows: pa.Table) -> Iterator[None]:
        """Within the block, DuckDB reads `rows` as the relation."""
        before, name = self._names.pop(relation, None), f"mesh_{next(self._numbers)}"
        with registered(self._duckdb, name, rows):
            self._look_at(relation, name)
            yield
        self._names.pop(relation)
        if before:
            self._look_at(relation, before)

    def _look_at(self, relation: str, name: str) -> None:
        self._names[relation] = name
        self._duckdb.execute(f"CREATE OR REPLACE VIEW {quoted(relation)} AS SELECT * FROM {quoted(name)}")

    def _are_near(self, model: Model, missing: pa.Table, surplus: pa.Table, expected: Expected | None) -> bool:
        """Whether the rows differ no more than the tolerance allows, row by row of the same key."""
        tolerance = expected.expectation.tolerance if expected else {}
        schema = model.contract.table
        if not tolerance or len(missing) != len(surplus):
            return False
        tests = [f"w.{quoted(name)} IS NOT DISTINCT FROM f.{quoted(name)}" for name in schema.by_name]
        for number, field in enumerate(schema.fields):
            if field.name in tolerance:
                one, other = (f"{side}.{quoted(field.name)}" for side in "wf")
                bound = f"{tolerance[field.name]!r} * greatest(abs({one}), abs({other}))"
                tests[number] = f"({tests[number]} OR abs({one} - {other}) <= {bound})"
        same = f"SELECT count(*) FROM wanted AS w INNER JOIN found AS f ON {' AND '.join(tests)}"
        with registered(self._duckdb, "wanted", missing), registered(self._duckdb, "found", surplus):
            number_near = self._duckdb.execute(same).fetchone()
        return number_near == (len(missing),)

    def _shown(self, schema: TableSchema, missing: pa.Table, surplus: pa.Table) -> str:
        counts = f"{counted(len(missing), 'row')} of DuckDB's and {counted(len(surplus), 'row')} of Spark's"
        parts = [f"{counts} have no equal."]
        for engine, rows in (("DuckDB", missing), ("Spark", surplus)):
            shown = rows.slice(0, _SHOWN)
            parts += [f"{engine}: {self._example(schema, shown.slice(row, 1))}." for row in range(len(shown))]
        return "\n".join(parts)

    def _said(self, model: Model, error: AttentionError) -> str:
        """Return Spark's words for a message, unless they can have a value that `_example` would leave out."""
        fields = [field for relation in model.inputs for field in self._schemas[relation].fields]
        if self._source == "edge" or all(field.classification in _OPEN for field in fields):
            return str(error)
        return (
            f"Spark says: {type(error.__cause__).__name__}. Its words are left out: they can have a personal value."
        )

    def _example(self, schema: TableSchema, row: pa.Table) -> dict[str, object]:
        """Return a row for a message. It goes into logs, so it has no personal and no confidential value."""
        open_columns = [f.name for f in schema.fields if f.classification in _OPEN]
        return dict((row if self._source == "edge" else row.select(open_columns)).to_pylist()[0])
