"""Read reference data: a domain's CSV file, typed and checked against its contract."""

from __future__ import annotations

import csv
from datetime import UTC, date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from mesh_platform.contract.contract import Contract, Field
from mesh_platform.contract.promise import promises_of
from mesh_platform.contract.wall_clock import TOO_FINE, OddTimeError, find_instant, is_too_fine, read_time
from mesh_platform.errors import ContractError, Problem
from mesh_platform.lake.catalog import arrow_schema
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.text import counted, offer, shown


def read_reference(mesh: Mesh, contract: Contract) -> pa.Table:
    """Return the rows of a reference product, in the contract's types; an empty cell is a missing value.

    Raises ContractError with every fault of the file and its line.
    """
    path = mesh.domain(contract.domain).reference_path(contract)
    label = shown(path, mesh.root)
    problems: list[Problem] = []
    rows: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            problems += _header_problems(label, header, contract)
            if not problems:
                keys: dict[tuple[Any, ...], int] = {}
                for cells in reader:
                    # An empty line, usually the last, is not a row. A replay of events skips it, too.
                    if not cells:
                        continue
                    row, found = _read_row(label, reader.line_num, header, cells, contract)
                    problems += found or _repeated_key(label, reader.line_num, row, contract, keys)
                    rows.append(row)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        problems.append(Problem(label, 1, f"cannot be read: {error}.", "Save it as CSV in UTF-8."))
    if problems:
        raise ContractError(problems)
    return pa.Table.from_pylist(rows, schema=arrow_schema(contract.table))


def _header_problems(label: str, header: list[str], contract: Contract) -> list[Problem]:
    known = contract.table.by_name
    problems = [
        Problem(label, 1, f"column '{name}' stands twice.", "Keep one of them.")
        for name in sorted({name for name in header if header.count(name) > 1})
    ]
    problems += [
        Problem(label, 1, f"column '{name}' is not in {contract.path}.", offer(name, known))
        for name in header
        if name not in known
    ]
    return problems + [
        Problem(label, 1, f"lacks column '{name}', which {contract.path}:{field.line} has.", "Add it to the header.")
        for name, field in known.items()
        if name not in header
    ]


def _read_row(
    label: str, line: int, header: list[str], cells: list[str], contract: Contract
) -> tuple[dict[str, Any], list[Problem]]:
    if len(cells) != len(header):
        message = f"has {counted(len(cells), 'cell')}, the header {len(header)}."
        return {}, [Problem(label, line, message, "Quote a cell that has a comma in it.")]
    row: dict[str, Any] = {}
    problems = []
    for name, cell in zip(header, cells, strict=True):
        field = contract.table.by_name[name]
        try:
            row[name] = _read_cell(field, cell)
        except (ValueError, OverflowError):
            fine = field.type.logical == "timestamp" and is_too_fine(cell)
            message = f"{name} {cell[:80]!r} {f'{TOO_FINE}; it is' if fine else 'is not'} {field.type.on_wire}."
            problems.append(Problem(label, line, message, "Correct the cell."))
            continue
        fault = _broken_promise(field, row[name]) or _odd_time(field, row[name], contract.time_zone)
        if fault:
            problems.append(
                Problem(label, line, f"{name} {cell[:80]!r} {fault}.", f"See {contract.path}:{field.line}.")
            )
    return row, problems


def _read_cell(field: Field, cell: str) -> Any:
    """Return the value of a cell, None if it is empty. Raises ValueError and OverflowError."""
    kind = field.type
    if "\0" in cell:
        raise ValueError(cell)
    if cell == "" or kind.name == "string":
        return cell or None
    if kind.logical in ("integer", "number"):
        number = kind.read_number(cell)
        if kind.precision:
            return Decimal(kind.write(number))
        return float(number) if kind.name == "double" else int(number)
    if kind.name == "boolean":
        return {"true": True, "false": False}.get(cell.lower()) if cell.lower() in ("true", "false") else int("")
    if kind.name == "date":
        return date.fromisoformat(cell)
    time = read_time(cell)
    if (time.tzinfo is None) != (kind.name == "timestamp"):
        raise ValueError(cell)
    return time.astimezone(UTC) if time.tzinfo else time


def _broken_promise(field: Field, value: Any) -> str | None:
    if value is None:
        return "is missing" if field.required else None
    return next((promise.broken for promise in promises_of(field) if promise.breaks(value)), None)


def _odd_time(field: Field, value: Any, time_zone: str | None) -> str | None:
    if value is None or time_zone is None or field.type.name != "timestamp":
        return None
    try:
        find_instant(value, ZoneInfo(time_zone), field.ambiguous_time, field.nonexistent_time)
    except OddTimeError as error:
        return str(error)
    except OverflowError:
        # No clock changes at the ends of the calendar.
        return None
    return None


def _repeated_key(
    label: str, line: int, row: dict[str, Any], contract: Contract, seen: dict[tuple[Any, ...], int]
) -> list[Problem]:
    key = tuple(row[name] for name in contract.table.key)
    first = seen.setdefault(key, line) if key else line
    if first == line:
        return []
    message = f"{', '.join(contract.table.key)} {', '.join(map(str, key))} is also that of line {first}."
    return [Problem(label, line, message, "Keep one row for each key.")]
