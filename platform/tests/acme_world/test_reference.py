"""The reference files of the repository are consistent, and errors name a wrong line."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from acme_world.truth.reference import (
    EMPLOYEES,
    ERROR_CODES,
    LONGEST,
    PRODUCTS,
    ROLES,
    ROUTES,
    SHIFTS,
    VEHICLE_TYPES,
    VEHICLES,
    read_employees,
    read_error_codes,
    read_exchange_rates,
    read_logistics,
    read_products,
    read_routes,
    read_vehicles,
)
from mesh_platform.errors import UsageError

ROOT = Path(__file__).parents[3]
WAREHOUSES = ("WH-NORTH", "WH-SOUTH", "WH-EAST", "WH-WEST")


def rows(path: str) -> list[dict[str, str]]:
    with (ROOT / path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_warehouse_has_staff_vehicles_and_routes() -> None:
    employees, vehicles, routes = vars(read_logistics(ROOT)).values()
    for warehouse in WAREHOUSES:
        here = employees.warehouse_id == warehouse
        assert 35 <= here.sum() <= 45
        posts = set(zip(employees.role[here].tolist(), employees.shift[here].tolist(), strict=True))
        assert posts == {(role, shift) for role in ROLES for shift in SHIFTS}
        kinds = vehicles.vehicle_type[vehicles.warehouse_id == warehouse]
        assert len(kinds) == 16
        assert set(kinds.tolist()) == set(VEHICLE_TYPES)
        classes = routes.road_class[routes.warehouse_id == warehouse]
        assert len(classes) == 8
        assert set(classes.tolist()) == set(LONGEST)
    assert set(employees.warehouse_id.tolist()) == set(WAREHOUSES)


def test_a_vehicle_is_at_home_on_a_route_of_its_depot() -> None:
    depots = {row["route_id"]: row["warehouse_id"] for row in rows(ROUTES)}
    vehicles = rows(VEHICLES)
    assert all(depots[row["home_route_id"]] == row["warehouse_id"] for row in vehicles)
    assert set(Counter(row["home_route_id"] for row in vehicles).values()) == {2}
    assert len({(row["vehicle_type"], row["max_speed_kmh"]) for row in vehicles}) == len(VEHICLE_TYPES)


def test_promises_can_be_kept_and_names_are_many() -> None:
    fastest = {"highway": 84.0, "regional": 62.0, "urban": 31.0}
    for row in rows(ROUTES):
        usual = float(row["distance_km"]) / fastest[row["road_class"]]
        assert usual < float(row["promised_hours"]) < 2.5 * usual + 1
    employees = rows(EMPLOYEES)
    assert len({row["employee_name"] for row in employees}) == len(employees)
    assert [row["hired_on"] for row in employees] == sorted(row["hired_on"] for row in employees)
    assert (
        max(row["hired_on"] for row in employees) < "2025-10-01" > max(row["in_service_on"] for row in rows(VEHICLES))
    )


def test_error_codes_are_those_that_errors_carry() -> None:
    codes = {row["error_code"]: (row["error_name"], row["category"]) for row in rows(ERROR_CODES)}
    assert read_error_codes(ROOT).tolist() == list(codes)
    assert codes == {
        "E-101": ("out_of_stock", "stock"),
        "E-201": ("payment_declined", "payment"),
        "E-202": ("payment_timeout", "payment"),
        "E-301": ("address_invalid", "customer"),
        "E-401": ("system_timeout", "system"),
        "E-402": ("scanner_offline", "system"),
        "E-403": ("label_printer_fault", "system"),
        "E-501": ("sla_missed", "delivery"),
    }


def test_values_are_read_in_whole_units() -> None:
    products, first = read_products(ROOT), rows(PRODUCTS)[0]
    assert (products.list_price[0], products.unit_weight[0]) == (3490, 2450)
    assert products.launched[0] == date.fromisoformat(first["launched_on"]).toordinal()
    routes, told = read_routes(ROOT), rows(ROUTES)[0]
    assert routes.distance[0] == round(float(told["distance_km"]) * 10)
    assert routes.promised[0] == round(float(told["promised_hours"]) * 100)
    assert read_vehicles(ROOT).capacity[0] == int(rows(VEHICLES)[0]["capacity_kg"]) * 1000
    assert read_employees(ROOT).employee_id.dtype.kind == "U"
    chosen = routes.take(np.array([2, 0]))
    assert chosen.route_id.tolist() == routes.route_id[[2, 0]].tolist()


@pytest.mark.parametrize(
    ("read", "path", "line", "old", "new", "message"),
    [
        (read_employees, EMPLOYEES, 3, ",loader,", ",juggler,", "role 'juggler' is not one of picker, loader"),
        (read_employees, EMPLOYEES, 4, "E-0003", "E-0002", "employee_id 'E-0002' stands in line 3 already"),
        (read_employees, EMPLOYEES, 2, "E-0001", "", "employee_id '' is empty"),
        (read_vehicles, VEHICLES, 2, "R-NORTH-", "R-MOON-", "home_route_id 'R-MOON-04' is not one of R-NORTH-01, "),
        (read_vehicles, VEHICLES, 2, "truck", "bicycle", "vehicle_type 'bicycle' is not one of van, "),
        (read_vehicles, VEHICLES, 2, "7500", "0", "'0' is not a positive number in steps of 1/1000"),
        (read_routes, ROUTES, 2, ",31.0,", ",31.05,", "'31.05' is not a positive number in steps of 1/10"),
        (read_routes, ROUTES, 2, ",31.0,", ",310.0,", "a route of class urban has at most 140 km, not 310.0"),
        (read_routes, ROUTES, 2, "urban", "muddy", "road_class 'muddy' is not one of highway, regional, urban"),
        (read_error_codes, ERROR_CODES, 3, "E-201", "E-101", "error_code 'E-101' stands in line 2 already"),
        (read_products, PRODUCTS, 2, "2.450", "light", "'light' is not a positive number"),
        (read_products, PRODUCTS, 2, "1985-03-04", "1985-13-04", "'1985-13-04' is not a date"),
    ],
)
def test_a_wrong_line_is_named(
    tmp_path: Path, read: Callable[[Path], Any], path: str, line: int, old: str, new: str, message: str
) -> None:
    folder = "domains/logistics_core/reference"
    shutil.copytree(ROOT / folder, tmp_path / folder)
    lines = (tmp_path / path).read_text(encoding="utf-8").splitlines()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    (tmp_path / path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)
    assert "line" in str(caught.value).rsplit(". ", 1)[-1] or "its own" in str(caught.value)


def test_a_missing_file_column_or_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"products\.csv: there is no such file"):
        read_products(tmp_path)
    with pytest.raises(UsageError, match=r"vehicles\.csv: there is no such file"):
        read_vehicles(tmp_path)
    file = tmp_path / EMPLOYEES
    file.parent.mkdir(parents=True)
    file.write_text("employee_id,role\n")
    with pytest.raises(UsageError, match=r"employees\.csv:1: no column \['shift', 'warehouse_id'\]"):
        read_employees(tmp_path)
    file.write_text("employee_id,role,warehouse_id,shift\n")
    with pytest.raises(UsageError, match=r"employees\.csv: the file has no row"):
        read_employees(tmp_path)


def test_a_rate_outside_the_file_is_the_nearest() -> None:
    rates = read_exchange_rates(ROOT, "north_warehouse", "CAD")
    assert rates.rate_on(date(1970, 5, 5)) == rates.micro_usd[0]
    leap_month = list(rates.months).index(date(1996, 2, 1))
    assert rates.rate_on(date(1996, 2, 29)) == rates.micro_usd[leap_month] != rates.micro_usd[leap_month - 1]
    assert rates.rate_on(date(2060, 1, 1)) == rates.micro_usd[-1]
    with pytest.raises(UsageError, match="no row has currency EUR"):
        read_exchange_rates(ROOT, "north_warehouse", "EUR")
