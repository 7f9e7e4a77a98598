"""The inherited suite: each promise that a domain breaks fails the test of that promise, and no other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

ROOT = Path(__file__).parents[2]
SUITE = "TestDomain::test_"
ORDERS = "(has_rows and orders_) or files_are_valid"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "domains", tmp_path / "domains", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def failures(root: Path, *options: str) -> set[str]:
    """Run pytest in `root`; what failed, as `<domain>: <test>`."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert " passed" in done.stdout
    return {
        f"{domain}: {test}"
        for domain, test in re.findall(r"^FAILED domains/(\w+)/\S+::test_(.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    }


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / "domains" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_each_broken_promise_fails_its_own_test(root: Path) -> None:
    edit(root, "north_warehouse/contracts/exchange_rates.odcs.yaml", '"0.718420"', '"0.7184209"')
    edit(root, "north_warehouse/tests/cases/orders_north.yaml", 'amount_usd: "28.72"', 'amount_usd: "28.73"')
    edit(root, "south_warehouse/producers/produce_orders_south.py", 'rename={"customer_id": "client_no"}', "")
    edit(root, "south_warehouse/contracts/orders_south.odcs.yaml", "[C-SOUTH-00001]", "[17]")
    edit(root, "east_warehouse/producers/orders_east.csv", ",1,", ",one,")
    edit(root, "west_warehouse/models/orders_west.sql", "r.quantity", "r.quantity + 0.5 as quantity")
    edit(root, "west_warehouse/producers/orders_west.csv", "USD", "EUR")
    (root / "domains/east_warehouse/producers/produce_orders_east.py").unlink()
    assert failures(root, "-k", "not end_to_end and not has_rows") == {
        "north_warehouse: examples_fit_their_columns[exchange_rates]",
        "north_warehouse: case[Canadian dollars become US dollars at the rate of the order's month, in UTC]",
        "south_warehouse: producer_sends_valid_events[orders_south]",
        "south_warehouse: examples_fit_their_columns[orders_south]",
        "east_warehouse: producer_sends_valid_events[orders_east]",
        "east_warehouse: sample_is_valid[orders_east]",
        "west_warehouse: sql_fits_its_contract[orders_west]",
        "west_warehouse: sample_is_valid[orders_west]",
        "west_warehouse: case[the tier of the customer is kept, also where it is missing0]",
        "west_warehouse: case[a line that comes in days late keeps its own time, and two equal ones stay two]",
    }


@pytest.mark.slow
def test_end_to_end_sees_lost_and_doubled_rows(root: Path) -> None:
    south, west = root / "domains/south_warehouse", root / "domains/west_warehouse"
    edit(root, "south_warehouse/models/orders_south.sql", "'south_warehouse'", "'south_warehouse' and r.quantity > 1")
    with (west / "models/orders_west.sql").open("a") as sql:
        sql.write("union all select *, null from south_warehouse.orders_south\n")
    assert failures(root, "-k", "end_to_end", str(south), str(west), "domains/north_warehouse") == {
        "south_warehouse: end_to_end[south_warehouse]",
        "west_warehouse: end_to_end[west_warehouse]",
    }


@pytest.mark.slow
def test_a_missing_table_and_an_empty_view_fail_in_a_lake_and_in_a_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(root, "south_warehouse/models/orders_south.sql", "'south_warehouse'", "'south_warehouse' and r.quantity < 0")
    assert failures(root, "-k", ORDERS, "domains/south_warehouse") == {"south_warehouse: view_has_rows[orders_south]"}
    path = tmp_path / "views.duckdb"
    with duckdb.connect(str(path)) as file:
        file.execute("create schema south_warehouse")
        file.execute("create view south_warehouse.orders_south as select 1 as event_id where false")
    monkeypatch.setenv("DUCKDB_PATH", str(path))
    assert failures(root, "-k", ORDERS, "domains/south_warehouse", "domains/west_warehouse") == {
        "south_warehouse: view_has_rows[orders_south]",
        "west_warehouse: view_has_rows[orders_west]",
    }


def test_a_file_that_cannot_be_read_fails_with_its_problems_and_nothing_else_runs(root: Path) -> None:
    (root / "domains/east_warehouse/owners.yaml").write_text("team: only\n")
    # The mesh is one: each domain is told what is wrong with it.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "domains/east_warehouse"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed in" in done.stdout
    assert "domains/east_warehouse/owners.yaml:1: steward: Field required" in done.stdout


def test_a_domain_without_events_has_no_tests_of_events(root: Path) -> None:
    few, logistics = root / "domains/few_words", root / "domains/logistics_core"
    for name in (
        *("__init__.py", "owners.yaml", "domain.yaml", "tests/__init__.py", "tests/test_domain.py"),
        *("contracts/error_codes.odcs.yaml", "reference/error_codes.csv"),
    ):
        (few / name).parent.mkdir(parents=True, exist_ok=True)
        (few / name).write_text((logistics / name).read_text().replace("logistics_core", "few_words"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", "domains/few_words"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    tests = {line.split("::test_")[1].split("[")[0] for line in done.stdout.splitlines() if SUITE in line}
    assert tests == {"files_are_valid", "examples_fit_their_columns", "end_to_end", "view_has_rows"}
