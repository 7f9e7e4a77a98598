"""`mesh produce ... replay`: which records of two files are one event."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from mesh_platform.cli import mesh as command

from ..small_mesh import Place, small_mesh

LINES = "item_id,buyer,amount,sold_at\ni1,ann,1.00,2025-10-01T10:00:00Z\ni1,ann,1.00,2025-10-01T10:00:00Z\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path / "mesh")


def ids(place: Place, file: Path) -> list[str]:
    """The ids of the events of a file."""
    words = ("produce", "alpha.sales_alpha", "replay", str(file), "--to", "-")
    done = CliRunner().invoke(command, words, env={"MESH_ROOT": str(place.root)})
    assert done.exit_code == 0, done.output
    return [json.loads(line)["event_id"] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("in_ids", [False, True])
def test_equal_records_of_two_files_are_one_event_unless_the_file_counts(
    place: Place, tmp_path: Path, in_ids: bool
) -> None:
    if in_ids:
        contract = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
        time = "  - property: mesh.eventTime\n"
        told = "  - property: mesh.fileInIds\n    value: true\n"
        assert time in contract.read_text()
        contract.write_text(contract.read_text().replace(time, told + time))
    (tmp_path / "elsewhere").mkdir()
    till1, till2, again = (tmp_path / name for name in ("till1.csv", "till2.csv", "elsewhere/till1.csv"))
    for file in (till1, till2, again):
        file.write_text(LINES)
    assert len({*ids(place, till1)}) == 2
    # The folder does not count, so that a file can be moved and sent again.
    assert ids(place, till1) == ids(place, again)
    assert (ids(place, till1) == ids(place, till2)) is not in_ids
    assert bool({*ids(place, till1)} & {*ids(place, till2)}) is not in_ids


def test_ingest_says_which_duplicates_another_file_had_sent(place: Place, tmp_path: Path) -> None:
    env = {"MESH_ROOT": str(place.root), "MESH_STATE": str(tmp_path / "state")}

    def run(*words: str) -> tuple[str, str]:
        done = CliRunner().invoke(command, words, env=env)
        assert done.exit_code == 0, done.output
        return done.stdout, done.stderr

    def ingested(file: str, *words: str) -> tuple[str, str]:
        (tmp_path / file).write_text(LINES)
        run("produce", "alpha.sales_alpha", "replay", str(tmp_path / file))
        return run("ingest", "alpha", "--until-empty", *words)

    def counted(file: str) -> tuple[int, int, int]:
        (row,) = json.loads(ingested(file, "--format", "json")[0])
        return row["appended"], row["duplicates"], row["duplicates_of_others"]

    assert counted("till1.csv") == (2, 0, 0)
    assert counted("till1.csv") == (0, 2, 0)
    assert counted("till2.csv") == (0, 2, 2)
    table, said = ingested("till2.csv")
    assert "duplicates_of_others" not in table
    assert "alpha.sales_alpha__raw: of the duplicates, 2 had come from another sender or file" in said
    query = "select distinct producer from alpha.sales_alpha__raw"
    assert json.loads(run("query", "--role", "owner", "--format", "json", query)[0]) == [
        {"producer": "produce_sales_alpha till1.csv"}
    ]
