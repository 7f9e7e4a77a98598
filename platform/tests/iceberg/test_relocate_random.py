"""Random tables, copied and moved at random: after `relocate` every snapshot reads as before."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mesh_platform import faults
from mesh_platform.errors import UsageError
from mesh_platform.faults import InjectedFault
from mesh_platform.iceberg.commit import replace_files
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.expiry import expire
from mesh_platform.iceberg.orphan_files import remove_orphans
from mesh_platform.iceberg.relocate import relocate
from pyiceberg.catalog import Catalog
from pyiceberg.types import LongType, StringType

from conftest import draws

from ..moved_lake import PARTITIONS, add, describe, make_table, open_lake, tree

NAME = "north.t"
# What happens to a table, in order.
STEPS = st.lists(
    st.sampled_from(["append", "append", "column", "partition", "tag", "remove", "compact", "expire"]), max_size=6
)
TABLE = st.tuples(st.integers(0, len(PARTITIONS) - 1), st.sampled_from([1, 2]), STEPS)
FOLDER = st.text(st.characters(codec="utf-8", exclude_characters='/?\0"', exclude_categories=["C"]), min_size=1)
FOLDERS = FOLDER.map(lambda name: f"s{name[:12]}")
# Where the first call is killed, if at all.
KILL = st.none() | st.sampled_from(["relocate.noted", "relocate.rewritten"]) | st.integers(1, 12)


def change(catalog: Catalog, name: str, step: str, number: int) -> None:
    table = catalog.load_table(name)
    match step:
        case "append":
            add(table, number * 10, 3)
        case "column":
            with table.update_schema() as update:
                update.add_column(f"c{number}", StringType() if number % 2 else LongType())
        case "partition" if table.format_version > 1:
            # pyiceberg cannot write rows if two fields of a spec have the same source column.
            taken = {field.source_id for field in table.spec().fields}
            free = [name for name in ("id", "site", "at") if table.schema().find_field(name).field_id not in taken]
            with table.update_spec() as update:
                for name in free[:1]:
                    update.add_field(name, "bucket[2]", f"s{number}")
        case "tag" if table.current_snapshot():
            table.manage_snapshots().create_tag(table.current_snapshot().snapshot_id, f"r{number}").commit()
        case "remove":
            files = [task.file for task in table.scan().plan_files()][:1]
            replace_files(table, files, table.scan().to_arrow().slice(0, 0))
        case "compact":
            compact(lambda: catalog.load_table(name))
        case "expire":
            expire(lambda: catalog.load_table(name), timedelta(0), lambda: (), datetime.now(UTC) + timedelta(hours=2))


Tables = list[tuple[int, int, list[str]]]


def check(tables: Tables, folders: tuple[str, str], moved: bool, kill: str | int | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        original = Path(temporary).resolve() / "a" / folders[0]
        original.parent.mkdir()
        catalog = open_lake(original)
        for place, (partition, version, steps) in enumerate(tables):
            make_table(catalog, f"{NAME}{place}", partition, version)
            for number, step in enumerate(["append", *steps]):
                change(catalog, f"{NAME}{place}", step, number)
        said, before = describe(catalog, original), tree(original)
        target = Path(temporary).resolve() / "b" / folders[1]
        target.parent.mkdir()
        shutil.move(original, target) if moved else shutil.copytree(original, target)
        with pytest.raises(UsageError):
            open_lake(target)
        if kill is not None:
            _killed(target, kill)
        relocate(open_lake(target, copied=True))
        there = open_lake(target)
        assert describe(there, target) == said
        assert {each.mode for each in relocate(open_lake(target), [str(original)])} == {"noop"}
        for place in range(len(tables)):
            name = f"{NAME}{place}"
            rows = there.load_table(name).scan().to_arrow().num_rows
            add(there.load_table(name), 1000, 2)
            for step in ("compact", "expire"):
                change(there, name, step, 99)
            remove_orphans(partial(there.load_table, name), datetime.now(UTC) + timedelta(hours=3), lambda size: None)
            assert there.load_table(name).scan().to_arrow().num_rows == rows + 2
        if not moved:
            assert tree(original) == before
            assert describe(open_lake(original), original) == said


def _killed(state: Path, kill: str | int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "_passed", {})
        point = kill if isinstance(kill, str) else f"relocate.replaced:raise:{kill}"
        patch.setenv("MESH_FAULT", point if ":" in point else f"{point}:raise")
        try:
            relocate(open_lake(state, copied=True))
        except InjectedFault:
            pass
        else:
            return
    with pytest.raises(UsageError, match="mesh relocate"):
        open_lake(state)


CASES = given(st.lists(TABLE, min_size=1, max_size=2), st.tuples(FOLDERS, FOLDERS), st.booleans(), KILL)
PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=draws(4), suppress_health_check=PATIENT)
@example(tables=[(0, 1, [])], folders=("s0", "s\\"), moved=False, kill=None)
@CASES
def test_random_lakes(tables: Tables, folders: tuple[str, str], moved: bool, kill: str | int | None) -> None:
    check(tables, folders, moved, kill)


@pytest.mark.thorough
@settings(max_examples=draws(30, 100), suppress_health_check=PATIENT)
@CASES
def test_many_random_lakes(tables: Tables, folders: tuple[str, str], moved: bool, kill: str | int | None) -> None:
    check(tables, folders, moved, kill)
