"""Copied and moved state folders as people meet them: refused by every command, then `mesh relocate`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mesh_platform.faults import POINTS
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, in_batches, lines, send

from conftest import HANG, ROOT, State

RAW = f"{PRODUCT}__raw"
COUNT = f"select count(*)::int as n from {RAW}"


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def land(state: State, mesh: Mesh, first: int) -> None:
    send(state, mesh, in_batches(lines(range(first, first + 10), minutes=1), 5))
    state.mesh("ingest", PRODUCT, "--until-empty")


@pytest.fixture
def filled(state: State, mesh: Mesh) -> State:
    """A lake with ten orders and a release."""
    land(state, mesh, 0)
    state.mesh("build")
    return state


def copied(filled: State, make_state: Callable[..., State]) -> State:
    return make_state(Path(shutil.copytree(filled.folder, filled.folder.with_name("backup"))))


@pytest.mark.slow
def test_maintaining_a_copy_takes_nothing_from_the_original(
    filled: State, mesh: Mesh, make_state: Callable[..., State]
) -> None:
    copy = copied(filled, make_state)
    land(filled, mesh, 10)
    before = files_in(filled.folder)
    there = files_in(copy.folder)
    for words in (
        ("maintain",),
        ("ingest", "--until-empty"),
        ("build",),
        ("query", COUNT),
        ("status",),
        ("rollback", RAW, "--to", 1),
        ("views", copy.folder.with_name("views.duckdb")),
        ("run", "--days", 1),
    ):
        refused = copy.mesh(*words, check=2, MESH_ORPHAN_AGE_S="0")
        assert f"{copy.folder}/warehouse" in refused.err, words
        assert f"{filled.folder}/warehouse" in refused.err, words
        assert "mesh relocate" in refused.err, words
    assert files_in(filled.folder) == before
    left = files_in(copy.folder)
    assert {name: left[name] for name in there if "broker" not in name} == {
        name: there[name] for name in there if "broker" not in name
    }

    done = copy.json("relocate")
    assert {row["mode"] for row in done} == {"relocated"}
    assert {*done[0]} == {"table", "mode", "from", "to", "snapshots", "rewritten"}
    assert {row["from"] for row in done} == {f"{filled.folder}/warehouse"}
    land(copy, mesh, 20)
    copy.json("build")
    copy.mesh("maintain", MESH_ORPHAN_AGE_S="0")
    assert copy.json("query", COUNT) == [{"n": 20}]
    assert files_in(filled.folder) == before
    assert filled.json("query", COUNT) == [{"n": 20}]


@pytest.mark.slow
def test_a_copy_reads_all_states_of_the_original(filled: State, mesh: Mesh, make_state: Callable[..., State]) -> None:
    land(filled, mesh, 10)
    filled.mesh("build")
    copy = copied(filled, make_state)
    noop = copy.mesh("relocate", "--from", filled.folder.with_name("elsewhere"), check=2)
    assert f"lies in {filled.folder}/warehouse" in noop.err
    shown = copy.mesh("relocate")
    assert RAW in shown.out
    assert "checked; 0 already in place." in shown.err
    assert copy.json("releases") == filled.json("releases")
    assert copy.json("history", RAW) == filled.json("history", RAW)
    (first, *_) = (row["snapshot_id"] for row in reversed(filled.json("history", RAW)))
    of_product = f"select count(*)::int as n from {PRODUCT}"
    for words in ((COUNT,), (COUNT, "--as-of", f"{RAW}@{first}"), (of_product, "--as-of", "r1"), (of_product,)):
        assert copy.json("query", *words) == filled.json("query", *words)
    assert {row["mode"] for row in copy.json("build")} == {"noop"}
    assert {row["mode"] for row in copy.json("relocate")} == {"noop"}


@pytest.mark.slow
@pytest.mark.parametrize("point", [name for name in POINTS if name.startswith("relocate.")])
def test_killed_at_a_point_a_moved_folder_is_refused_until_it_is_done(
    filled: State, make_state: Callable[..., State], point: str
) -> None:
    moved = make_state(filled.folder.rename(filled.folder.with_name("moved")))
    assert moved.mesh("relocate", check=None, MESH_FAULT=f"{point}:kill").code == -9
    assert "has not ended" in moved.mesh("query", COUNT, check=2).err
    assert {row["mode"] for row in moved.json("relocate")} == {"relocated"}
    assert moved.json("query", COUNT) == [{"n": 10}]


def test_airflow_settings_of_another_place_are_refused(state: State) -> None:
    home = state.folder / "airflow"
    home.mkdir(parents=True)
    (home / "airflow.cfg").write_text("[database]\nsql_alchemy_conn = sqlite:////srv/old/.mesh/airflow/airflow.db\n")
    script = [ROOT / "scripts" / "airflow", "start"]
    done = subprocess.run(script, env=state.environment, capture_output=True, text=True, check=False, timeout=HANG)
    assert done.returncode == 2, done.stderr
    assert "names /srv/old/.mesh/airflow: the state folder was copied or moved" in done.stderr
