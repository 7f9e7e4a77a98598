"""The company's reference data that the simulation reads from the repository.

CSV files arrive; products as columns and exchange rates by month leave, with money and rates as integers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from mesh_platform.errors import UsageError, shown
from numpy.typing import NDArray

PRODUCTS = "domains/logistics_core/reference/products.csv"
MICRO = 1_000_000


@dataclass(frozen=True)
class Products:
    """The catalogue, one entry a product in file order. `list_price` is in US cents, `launched` a day's ordinal."""

    product_id: NDArray[np.str_]
    category: NDArray[np.str_]
    list_price: NDArray[np.int64]
    launched: NDArray[np.int64]


def read_products(root: Path) -> Products:
    """The products of the repository at `root`. Raises UsageError where the file is missing or a value is wrong."""
    rows = list(_read(root, PRODUCTS, ("product_id", "category", "list_price_usd", "launched_on")))
    where = [f"{PRODUCTS}:{line}" for line, _ in rows]
    return Products(
        product_id=np.array([row["product_id"] for _, row in rows], dtype=np.str_),
        category=np.array([row["category"] for _, row in rows], dtype=np.str_),
        list_price=np.array(
            [_scaled(row["list_price_usd"], 100, at) for at, (_, row) in zip(where, rows, strict=True)], np.int64
        ),
        launched=np.array(
            [_day(row["launched_on"], at).toordinal() for at, (_, row) in zip(where, rows, strict=True)], np.int64
        ),
    )


@dataclass(frozen=True)
class ExchangeRates:
    """Millionths of a US dollar for one unit of a currency, by the first day of the month; months ascend."""

    months: tuple[date, ...]
    micro_usd: tuple[int, ...]

    def rate_on(self, day: date) -> int:
        """The rate of the day's month. Before the first month and after the last, the nearest one's."""
        month = min(max(day.replace(day=1), self.months[0]), self.months[-1])
        return self.micro_usd[self.months.index(month)]


US_DOLLAR = ExchangeRates((date(1970, 1, 1),), (MICRO,))


def read_exchange_rates(root: Path, domain: str, currency: str) -> ExchangeRates:
    """The rates by which `domain` bills in `currency`. The dollar needs no file.

    Raises UsageError where `domains/<domain>/reference/exchange_rates.csv` is missing, wrong, or skips a month.
    """
    if currency == "USD":
        return US_DOLLAR
    path = f"domains/{domain}/reference/exchange_rates.csv"
    rates = {
        _day(row["month"], f"{path}:{line}"): _scaled(row["usd_per_unit"], MICRO, f"{path}:{line}")
        for line, row in _read(root, path, ("currency", "month", "usd_per_unit"))
        if row["currency"] == currency
    }
    if not rates:
        raise UsageError(
            f"{path}: no row has currency {currency}, in which {domain} bills. Add a row for each month."
        )
    months = tuple(sorted(rates))
    span = (months[-1].year - months[0].year) * 12 + months[-1].month - months[0].month + 1
    if any(month.day != 1 for month in months) or span != len(months):
        raise UsageError(f"{path}: {currency} has no row for some month. Give each month's first day, without a gap.")
    return ExchangeRates(months, tuple(rates[month] for month in months))


def _read(root: Path, path: str, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row of each row of a CSV file that has at least `columns`."""
    if not (root / path).is_file():
        raise UsageError(f"{shown(root / path, root)}: there is no such file. Add it with the columns {columns}.")
    with (root / path).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if missing := set(columns) - set(reader.fieldnames or ()):
            raise UsageError(f"{path}:1: no column {sorted(missing)}; the file needs {columns}. Mend the first line.")
        for row in reader:
            yield reader.line_num, row


def _scaled(text: str, scale: int, where: str) -> int:
    """A positive decimal times `scale`, where that is whole."""
    try:
        number = Decimal(text) * scale
    except InvalidOperation:
        number = Decimal(0)
    if number <= 0 or number != number.to_integral_value():
        raise UsageError(f"{where}: {text!r} is not a positive number in steps of 1/{scale}. Correct the line.")
    return int(number)


def _day(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{where}: {text!r} is not a date such as 2025-10-01. Correct the line.") from None
