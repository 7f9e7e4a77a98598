"""The small plot that ends `make run`: its heights are those of the numbers, and it fits 80 columns."""

from __future__ import annotations

from datetime import date, timedelta

from mesh_platform.cli.plot import MOST_DAYS, plot_days

FIRST = date(2025, 10, 1)


def days(*values: int) -> list[tuple[date, int]]:
    return [(FIRST + timedelta(days=number), value) for number, value in enumerate(values)]


def test_each_column_is_as_high_as_its_number() -> None:
    assert plot_days(days(0, 600, 300, 50), "Orders a day") == [
        "Orders a day",
        "600 │  █",
        "    │  █",
        "    │  █",
        "    │  █ █",
        "    │  █ █",
        "  0 │  █ █ ▄",
        "     2025-10-01 2025-10-04",
    ]


def test_where_it_is_plain_it_has_ascii_alone() -> None:
    text = "\n".join(plot_days(days(0, 600, 300, 50), "Orders a day", plain=True))
    assert text.isascii()
    assert text.count("#") == 6 + 3 + 1


def test_many_days_of_many_orders_fit_80_columns_and_show_the_newest() -> None:
    lines = plot_days(days(*range(1_000_000, 1_000_400)), "Orders a day")
    assert max(map(len, lines)) <= 80
    assert lines[-1].split() == [str(FIRST + timedelta(days=400 - MOST_DAYS)), str(FIRST + timedelta(days=399))]


def test_a_single_day_and_nothing_at_all() -> None:
    assert plot_days([], "Orders a day") == []
    assert plot_days(days(0), "Orders a day")[-1].strip() == "2025-10-01"
