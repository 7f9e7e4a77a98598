"""What is partitioned by time is found by its time, at each edge of days, months and years, by each reader."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import yaml
from mesh_platform.engine.duckdb import connect, registered
from mesh_platform.engine.sql import scan
from mesh_platform.errors import AttentionError
from mesh_platform.iceberg.compaction import compact
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session
from pyiceberg.expressions import EqualTo, GreaterThanOrEqual, LessThan

from ..small_mesh import Place, add_contract, small_mesh

TICK = timedelta(microseconds=1)
EDGES = [datetime(year, month, day) for year in (2, 1582, 1969, 1970, 2000, 9999) for month, day in ((1, 1), (3, 1))]
MOMENTS = sorted(
    {datetime.min, datetime.max, *(edge + tick for edge in EDGES for tick in (-TICK, timedelta(), TICK))}
)
MODERN = [moment for moment in MOMENTS if moment.year >= 1970]
COMPARED = {"=": EqualTo, "<": LessThan, ">=": GreaterThanOrEqual}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def say(place: Place, kind: str, partition: str) -> None:
    add_contract(place, "core", "spans", {"spans": {"id": "int key", "made_at": "timestamptz"}}, partition=partition)
    path = place.root / "domains/core/contracts/spans.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    logical = "date" if kind == "date" else "timestamp"
    contract["schema"][0]["properties"][1] |= {"physicalType": kind, "logicalType": logical}
    path.write_text(yaml.safe_dump(contract, sort_keys=False))


def write(place: Place, kind: str, moments: list[datetime]) -> None:
    zone = "+00" if kind == "timestamptz" else ""
    rows = ", ".join(f"({number}, '{moment.isoformat(' ')}{zone}')" for number, moment in enumerate(moments))
    values = f"(values {rows}) as t (id, made_at)"
    place.write("core/models/spans.sql", f"select id, cast(made_at as {kind}) as made_at from {values}")


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz"])
@pytest.mark.parametrize("transform", ["day", "month"])
def test_a_time_before_1970_is_refused_where_a_filter_would_not_find_it(place: Place, kind: str, transform: str):
    say(place, kind, f"{transform}(made_at)")
    write(place, kind, [datetime(1970, 1, 1)])
    place.build("core.spans")
    write(place, kind, [datetime(1970, 1, 1), datetime(1970, 1, 1) - TICK])
    with pytest.raises(AttentionError) as error:
        place.build("core.spans")
    told = str(error.value)
    assert told.startswith("domains/core/contracts/spans.odcs.yaml:")
    assert "made_at is before 1970 in 1 row, as in (id=1, made_at=1969-12-31 23:59:59.999999" in told
    assert "Partition by year(made_at)" in told
    assert place.rows("core.spans", "id") == [(0,)]


@pytest.mark.parametrize(
    ("kind", "transform", "moments"),
    [
        *((kind, "year", MOMENTS) for kind in ("date", "timestamp", "timestamptz")),
        *(("date", transform, MOMENTS) for transform in ("day", "month")),
        *((kind, transform, MODERN) for kind in ("timestamp", "timestamptz") for transform in ("day", "month")),
    ],
)
def test_each_edge_is_found_by_every_reader_in_every_layout(
    place: Place, kind: str, transform: str, moments: list[datetime]
):
    say(place, kind, f"{transform}(made_at)")
    write(place, kind, moments)
    place.build("core.spans")
    first = place.snapshots("core.spans")[0]
    write(place, kind, [*moments, *moments[::3]])
    place.build("core.spans")
    compact(lambda: place.catalog.load_table("core.spans"))
    then = set(range(len(moments)))
    table = place.catalog.load_table("core.spans")
    plain = ds.dataset(sorted(place.files("core.spans"))).to_table()
    with (
        connect({}) as duckdb,
        registered(duckdb, "plain", plain),
        open_session(place.mesh, place.catalog) as view,
        open_session(place.mesh, place.catalog, as_of=f"core.spans@{first}") as past,
    ):
        duckdb.execute("CREATE TABLE plain_rows AS SELECT * FROM plain")
        # pyiceberg computes the neighbours of a filter, which the ends of the calendar do not have.
        for moment in moments[1:-1:2]:
            value = moment.date() if kind == "date" else moment.replace(tzinfo=UTC if kind == "timestamptz" else None)
            for sign, compared in COMPARED.items():
                query = f"SELECT id FROM {{}} WHERE made_at {sign} {kind} '{value}'"
                wanted = _ids(duckdb.execute(query.format("plain_rows")).to_arrow_table())
                assert _ids(run_query(view, query.format("core.spans"))) == wanted, query
                assert _ids(run_query(past, query.format("core.spans"))) == wanted & then, query
                outside = duckdb.execute(query.format(scan(table.metadata_location)))
                assert _ids(outside.to_arrow_table()) == wanted, query
                condition = compared("made_at", value.isoformat())
                assert _ids(table.scan(row_filter=condition, selected_fields=("id",)).to_arrow()) == wanted, query


def _ids(rows: pa.Table) -> set[int]:
    return set(rows["id"].to_pylist())
