"""Output for people: counts have correct grammar, and a terminal of 80 columns breaks no message in mid-sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mesh_platform.build.job import Built
from mesh_platform.cli import progress as bars
from mesh_platform.cli import tables
from mesh_platform.cli.text_table import write_cut_table
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.text import counted
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress
from terminal import MESH, on_a_terminal

from conftest import State

SOURCE = Path(__file__).resolve().parents[2] / "src"
LONG = (
    "domains/west_warehouse/producers/files/orders_of_a_long_name_2025.csv:1: "
    + "a word and another " * 8
    + "[ends]."
)


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ("event",), "0 events"),
        (1, ("event",), "1 event"),
        (2, ("event",), "2 events"),
        (1, ("malformed line",), "1 malformed line"),
        (1, ("message is", "messages are"), "1 message is"),
        (3, ("message is", "messages are"), "3 messages are"),
    ],
)
def test_a_count_agrees_with_its_word(number: int, words: tuple[str, ...], expected: str) -> None:
    assert counted(number, *words) == expected


# A number that can be 1, followed by a plural. Constants are greater than 1.
THINGS = (
    "bytes|cells|changes|columns|commits|contracts|days|domains|edges|entities|events|files|hours|keys|lines|"
    "messages|pages|partitions|problems|products|records|releases|results|rows|rules|seconds|snapshots|tables|"
    "tasks|terms|times|values|versions|warnings"
)
NUMBER = r"\{(?!_?[A-Z_]+\})(?![^{}]*(?:join\(|\"))[^{}]+\}"
PLURAL = re.compile(
    rf"{NUMBER} (?:(?!of |if )[a-z]+ )?(?:{THINGS})\b|"
    r"(?:\{len\([^{}]*\)\}|\} of them) (?:are|have|do|were)\b"
)


def test_no_message_has_a_plural_of_its_own() -> None:
    # Here the number is never 1.
    known = {
        "append.py: {conflicts} times",
        "lines.py: {len(at)} event times",
        "report.py: {len(rules)} rules",
        "__init__.py: {len(message.body)} bytes",
    }
    found = {
        f"{path.name}: {match}"
        for path in SOURCE.rglob("*.py")
        for match in PLURAL.findall(path.read_text(encoding="utf-8"))
    }
    assert found == known


def test_a_bar_counts_in_good_grammar() -> None:
    amount = bars._Amount("event")
    with Progress(disable=True) as progress:
        shown = []
        for done, total in ((0, None), (1, None), (2, None), (0, 1), (1, 20)):
            number = progress.add_task("ingest", total=total, completed=done)
            shown.append(amount.render(progress.tasks[number]).plain)
    assert shown == ["0 events", "1 event", "2 events", "0/1 event", "1/20 events"]


def test_a_message_is_one_line_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(stderr=True, highlight=False, width=80, force_terminal=True)
    monkeypatch.setattr(bars, "errors", console)
    with console.capture() as captured:
        bars.tell(LONG)
    assert captured.get() == f"{LONG}\n"


def test_a_terminal_of_80_columns_gets_whole_lines(state: State, mesh: Mesh, tmp_path: Path) -> None:
    product = "west_warehouse.orders_west"
    event = mesh.contract(product).event
    assert event is not None
    file = tmp_path / "orders of a file with a long name that nobody would break.csv"
    file.write_text(",".join(field.name for field in event.fields) + "\n1,2\n", encoding="utf-8")
    lines = on_a_terminal([MESH, "produce", product, "replay", str(file)], 80, state.environment).splitlines()
    assert any(line.startswith(f"{file}:2: 2 columns, not {len(event.fields)}") for line in lines), lines
    assert "0 events confirmed by the broker, 1 malformed line." in lines

    (wrong,) = on_a_terminal(
        [MESH, "ingest", "west_warehouse.orders_wets", "--until-empty"], 80, state.environment
    ).splitlines()
    assert wrong.startswith(
        "west_warehouse.orders_wets: no such product. Did you mean west_warehouse.orders_west or "
    )
    assert wrong.endswith("?")

    lines = on_a_terminal([MESH, "ingest", product, "--until-empty"], 80, state.environment).splitlines()
    assert any(line.endswith("0 events 0:00:00") for line in lines), lines


@pytest.mark.parametrize(
    ("lag", "shown"), [(86399, "24.0 h"), (86400, "24.0 h"), (86410, "24.0 h + 10 s"), (90000, "25.0 h")]
)
def test_a_lag_over_its_promise_is_not_written_as_the_promise_is(lag: int, shown: str) -> None:
    assert tables._lag(lag, 86400) == shown


def test_a_warning_is_cut_to_one_line_of_a_terminal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    words = "the rule is broken in 10 rows, as in " + "(product_id=P-0009, warehouse_id=WH-EAST), " * 9
    built = [Built("logistics_core.kpi", "rebuild", 1, 10, 1, {}, warnings=(words,))]
    whole = f"logistics_core.kpi: warning: {words}\n"
    tables.show_warnings(built)
    assert capsys.readouterr().err == whole
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tables, "errors", Console(stderr=True, width=80, force_terminal=True))
        tables.show_warnings(built, wide=True)
        assert capsys.readouterr().err == whole
        tables.show_warnings(built)
        first, told = capsys.readouterr().err.splitlines()
    assert len(first) <= 80
    assert first.endswith("…")
    assert told == "1 message cut. 'mesh build TABLE --full --wide' shows all."


@pytest.mark.parametrize("columns", [80, 120])
def test_an_explained_product_fits_the_terminal_and_breaks_no_word(state: State, columns: int) -> None:
    whole = state.mesh("explain", "logistics_core.fact_delivery_sla").out
    words = [MESH, "explain", "logistics_core.fact_delivery_sla"]
    printed = on_a_terminal(words, columns, state.environment)
    assert max(map(len, printed.splitlines())) <= columns
    shown, _, told = printed.partition("Not shown:")
    assert {*shown.split()} <= {*whole.split()}
    assert " ".join(told.split()).endswith("'--wide' and '--format json' have everything.")
    assert "Not shown" not in on_a_terminal([*words, "--wide"], columns, state.environment)


@pytest.mark.parametrize(
    ("columns", "header", "told"),
    [
        (
            40,
            "key words",
            "1 column cut: words. 1 column not shown: other. '--wide' and '--format json' have everything.",
        ),
        (80, "key words other", "1 column cut: words. '--wide' and '--format json' have everything."),
        (120, "key words other", ""),
    ],
)
def test_a_terminal_gets_as_much_of_a_table_as_fits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, header: str, told: str
) -> None:
    words, rows = ("key", "words", "other"), [{"key": "1", "words": "abc " * 13 + "abc", "other": "x" * 30}]
    write_cut_table(rows, words)
    whole = capsys.readouterr()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    write_cut_table(rows, words)
    printed = capsys.readouterr()
    shown = re.sub(r"\x1b\[[0-9;]*m", "", printed.out).splitlines()
    assert shown[0].split() == header.split()
    # What room there is, is used.
    assert columns - 1 <= len(shown[1]) <= columns or printed.out.count("abc") == 14
    assert " ".join(printed.err.split()) == told
    # A pipe has everything.
    assert (len(whole.out.splitlines()[1]), whole.err) == (92, "")


def test_a_wide_character_takes_two_places_of_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    write_cut_table([{"name": "東京都渋谷区" * 6, "many": 1, "other": "x" * 30}], ("name", "many", "other"))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert shown[0].split() == ["name", "many", "other"]
    assert max(map(cell_len, shown)) <= 60
    warning = Built("logistics_core.kpi", "rebuild", 1, 10, 1, {}, warnings=("渋谷" * 50,))
    monkeypatch.setattr(tables, "errors", Console(stderr=True, width=60, force_terminal=True))
    tables.show_warnings([warning])
    assert 59 <= cell_len(capsys.readouterr().err.splitlines()[0]) <= 60


def test_what_takes_over_a_second_shows_on_a_terminal_that_it_goes_on(state: State, tmp_path: Path) -> None:
    printed = on_a_terminal([MESH, "check", "--rule", "name-file"], 80, state.environment)
    assert re.search(r"check .* (\d+)/\1 rules \d:\d\d:\d\d\n", printed)
    words = [MESH, "dbt", "export", str(tmp_path / "project")]
    assert re.search(r"export .* \d:\d\d:\d\d", on_a_terminal(words, 80, state.environment))
    assert state.mesh(*words[1:]).err.count("\n") == 1
