"""Reading the company's reference data from the CSV files of the repository.

Products, employees, vehicles, routes and error codes become columns, exchange rates are by month; money, rates,
weights and distances are integers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from mesh_platform.errors import UsageError
from mesh_platform.text import shown
from numpy.typing import NDArray

PRODUCTS = "domains/logistics_core/reference/products.csv"
EMPLOYEES = "domains/logistics_core/reference/employees.csv"
VEHICLES = "domains/logistics_core/reference/vehicles.csv"
ROUTES = "domains/logistics_core/reference/route_network.csv"
ERROR_CODES = "domains/logistics_core/reference/error_codes.csv"
MICRO = 1_000_000
ROLES = ("picker", "loader", "driver", "clerk", "manager")
SHIFTS = ("early", "late", "night")
VEHICLE_TYPES = ("van", "electric_van", "truck", "semi")
# The maximum length of a route by road class, in tenths of a km, with which its vehicle always arrives within a day.
LONGEST = {"highway": 3800, "regional": 2800, "urban": 1400}


@dataclass(frozen=True)
class Products:
    """The catalogue, one entry per product in file order.

    `list_price` is in US cents, `unit_weight` in grams, `launched` is the ordinal of a day.
    """

    product_id: NDArray[np.str_]
    category: NDArray[np.str_]
    list_price: NDArray[np.int64]
    unit_weight: NDArray[np.int64]
    launched: NDArray[np.int64]


def read_products(root: Path) -> Products:
    """The products of the repository at `root`. Raises UsageError where the file is missing or a value is wrong."""
    rows = _Rows(root, PRODUCTS, ("product_id", "category", "list_price_usd", "unit_weight_kg", "launched_on"))
    return Products(
        product_id=rows.ids("product_id"),
        category=rows.text("category"),
        list_price=rows.scaled("list_price_usd", 100),
        unit_weight=rows.scaled("unit_weight_kg", 1000),
        launched=rows.days("launched_on"),
    )


@dataclass(frozen=True)
class Employees:
    """The employees and where they work: `role` is one of ROLES, `shift` one of SHIFTS."""

    employee_id: NDArray[np.str_]
    role: NDArray[np.str_]
    warehouse_id: NDArray[np.str_]
    shift: NDArray[np.str_]


def read_employees(root: Path) -> Employees:
    """The employees, in file order. Raises UsageError as `read_products` does, and for an unknown role or shift."""
    rows = _Rows(root, EMPLOYEES, ("employee_id", "role", "warehouse_id", "shift"))
    return Employees(
        employee_id=rows.ids("employee_id"),
        role=rows.one_of("role", ROLES),
        warehouse_id=rows.text("warehouse_id"),
        shift=rows.one_of("shift", SHIFTS),
    )


@dataclass(frozen=True)
class Vehicles:
    """The vehicles in their initial state, on the day with ordinal `in_service`.

    `capacity` is in grams, `max_speed` in km/h.
    """

    vehicle_id: NDArray[np.str_]
    vehicle_type: NDArray[np.str_]
    capacity: NDArray[np.int64]
    max_speed: NDArray[np.int64]
    warehouse_id: NDArray[np.str_]
    home_route_id: NDArray[np.str_]
    in_service: NDArray[np.int64]

    def take(self, chosen: NDArray[Any]) -> Vehicles:
        """Those at the indices, or where the mask is true."""
        return Vehicles(*(column[chosen] for column in vars(self).values()))


def read_vehicles(root: Path) -> Vehicles:
    """The vehicles, in file order. Raises UsageError as `read_products` does, and for an unknown route."""
    rows = _Rows(
        root,
        VEHICLES,
        (
            *("vehicle_id", "vehicle_type", "capacity_kg", "max_speed_kmh"),
            *("warehouse_id", "home_route_id", "in_service_on"),
        ),
    )
    return Vehicles(
        vehicle_id=rows.ids("vehicle_id"),
        vehicle_type=rows.one_of("vehicle_type", VEHICLE_TYPES),
        capacity=rows.scaled("capacity_kg", 1000),
        max_speed=rows.scaled("max_speed_kmh", 1),
        warehouse_id=rows.text("warehouse_id"),
        home_route_id=rows.one_of("home_route_id", read_routes(root).route_id.tolist()),
        in_service=rows.days("in_service_on"),
    )


@dataclass(frozen=True)
class Routes:
    """The routes as initially planned, for the day with ordinal `opened`.

    `distance` is in tenths of a km, `promised` in hundredths of an hour.
    """

    route_id: NDArray[np.str_]
    warehouse_id: NDArray[np.str_]
    distance: NDArray[np.int64]
    promised: NDArray[np.int64]
    road_class: NDArray[np.str_]
    opened: NDArray[np.int64]

    def take(self, chosen: NDArray[Any]) -> Routes:
        """Those at the indices, or where the mask is true."""
        return Routes(*(column[chosen] for column in vars(self).values()))


def read_routes(root: Path) -> Routes:
    """The routes, in file order. Raises UsageError as `read_products` does, and for one longer than LONGEST."""
    rows = _Rows(
        root, ROUTES, ("route_id", "warehouse_id", "distance_km", "promised_hours", "road_class", "opened_on")
    )
    routes = Routes(
        route_id=rows.ids("route_id"),
        warehouse_id=rows.text("warehouse_id"),
        distance=rows.scaled("distance_km", 10),
        promised=rows.scaled("promised_hours", 100),
        road_class=rows.one_of("road_class", tuple(LONGEST)),
        opened=rows.days("opened_on"),
    )
    for index, (distance, road_class) in enumerate(zip(routes.distance, routes.road_class, strict=True)):
        if distance > LONGEST[road_class]:
            raise UsageError(
                f"{rows.where(index)}: a route of class {road_class} has at most {LONGEST[road_class] // 10} km, "
                f"not {distance / 10}: its vehicle must arrive within a day. Correct the line."
            )
    return routes


def read_error_codes(root: Path) -> NDArray[np.str_]:
    """The error codes of the company, in file order. Raises UsageError as `read_products` does."""
    return _Rows(root, ERROR_CODES, ("error_code",)).ids("error_code")


@dataclass(frozen=True)
class Logistics:
    """The people, vehicles and routes that move goods."""

    employees: Employees
    vehicles: Vehicles
    routes: Routes


def read_logistics(root: Path) -> Logistics:
    """Employees, vehicles and routes of the repository. Raises UsageError as their readers do."""
    return Logistics(read_employees(root), read_vehicles(root), read_routes(root))


@dataclass(frozen=True)
class ExchangeRates:
    """Millionths of a US dollar for one unit of a currency, by the first day of the month, ascending."""

    months: tuple[date, ...]
    micro_usd: tuple[int, ...]

    def rate_on(self, day: date) -> int:
        """The rate of the day's month, else that of the first or last month."""
        month = min(max(day.replace(day=1), self.months[0]), self.months[-1])
        return self.micro_usd[self.months.index(month)]


US_DOLLAR = ExchangeRates((date(1970, 1, 1),), (MICRO,))


def read_exchange_rates(root: Path, domain: str, currency: str) -> ExchangeRates:
    """The rates for `domain`, which bills in `currency`. The US dollar needs no file.

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


class _Rows:
    """The columns of a CSV file, validated; every error names file and line."""

    def __init__(self, root: Path, path: str, columns: tuple[str, ...]) -> None:
        self._path = path
        self._rows = list(_read(root, path, columns))
        if not self._rows:
            raise UsageError(f"{path}: the file has no row below its first line. Add one.")

    def text(self, column: str) -> NDArray[np.str_]:
        return np.array([row[column] for _, row in self._rows], dtype=np.str_)

    def ids(self, column: str) -> NDArray[np.str_]:
        """A column of unique, non-empty ids."""
        seen: dict[str, int] = {}
        for line, row in self._rows:
            value = row[column]
            if not value or seen.setdefault(value, line) != line:
                there = f"stands in line {seen[value]} already" if value else "is empty"
                raise UsageError(f"{self._path}:{line}: {column} {value!r} {there}. Give each row its own.")
        return self.text(column)

    def one_of(self, column: str, allowed: Sequence[str]) -> NDArray[np.str_]:
        known = set(allowed)
        for line, row in self._rows:
            if row[column] not in known:
                some = ", ".join(allowed[:8]) + (", ..." if len(allowed) > 8 else "")
                raise UsageError(
                    f"{self._path}:{line}: {column} {row[column]!r} is not one of {some}. Correct the line."
                )
        return self.text(column)

    def scaled(self, column: str, scale: int) -> NDArray[np.int64]:
        return np.array([_scaled(row[column], scale, self._at(line)) for line, row in self._rows], np.int64)

    def days(self, column: str) -> NDArray[np.int64]:
        """A column of days, as proleptic ordinals."""
        return np.array([_day(row[column], self._at(line)).toordinal() for line, row in self._rows], np.int64)

    def where(self, index: int) -> str:
        """The file and line of the row at `index`."""
        return self._at(self._rows[index][0])

    def _at(self, line: int) -> str:
        return f"{self._path}:{line}"


def _read(root: Path, path: str, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """The line number and content of each row of a CSV file that has at least `columns`."""
    if not (root / path).is_file():
        raise UsageError(f"{shown(root / path, root)}: there is no such file. Add it with the columns {columns}.")
    with (root / path).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if missing := set(columns) - set(reader.fieldnames or ()):
            raise UsageError(f"{path}:1: no column {sorted(missing)}; the file needs {columns}. Mend the first line.")
        for row in reader:
            yield reader.line_num, row


def _scaled(text: str, scale: int, where: str) -> int:
    """A positive decimal times `scale`, which must be a whole number."""
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
