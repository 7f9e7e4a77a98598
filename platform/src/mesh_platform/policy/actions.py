"""The SQL of each masking action, in DuckDB's dialect: of a value it makes another of the same type; NULL stays NULL.

What each action does is in read restrictions of Iceberg's REST specification: see `contract.masking`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh_platform.contract.masking import ACTIONS, FIXED, HASHED, HASHED_BY_QUERY, NULLED, applies
from mesh_platform.engine.sql import literal
from mesh_platform.policy.pseudonyms import function_name

if TYPE_CHECKING:
    from mesh_platform.contract.types import FieldType

# What `mask-to-fixed-value` shows of each type: no empty text, which could be a value; of all else its zero.
_FIXED_VALUES = {
    "string": "'XXXXXXXX'",
    "binary": "''::BLOB",
    "boolean": "false",
    "date": "DATE '1970-01-01'",
    "timestamp": "TIMESTAMP '1970-01-01 00:00:00'",
    "timestamptz": "TIMESTAMPTZ '1970-01-01 00:00:00+00'",
}


def action_sql(action: str, column: str, kind: FieldType, stable: bool = False) -> str:
    """Return the SQL of an action on `column`, an expression of this type. Sessions are in UTC.

    `stable` asks for the pseudonyms that all sessions share. An action that is unknown, or does not apply to the
    type, is an SQL error, which stops each query that reads the column.
    """
    if not applies(action, kind):
        allowed = ", ".join(each for each in ACTIONS if applies(each, kind))
        words = f"{column} is masked by '{action}', which does not apply to its type {kind.name}. Use {allowed}."
        return f"error({literal(words)})"
    match action:
        case "mask-alphanum":
            return _redacted(column)
        case "show-first-4":
            rest = _redacted(f"substring({column}, 5)")
            return f"CASE WHEN length({column}) <= 4 THEN {column} ELSE left({column}, 4) || {rest} END"
        case "show-last-4":
            rest = _redacted(f"left({column}, length({column}) - 4)")
            return f"CASE WHEN length({column}) <= 4 THEN {column} ELSE {rest} || right({column}, 4) END"
        case "truncate-to-year" | "truncate-to-month":
            return f"date_trunc('{action.removeprefix('truncate-to-')}', {column})"
        case _ if action == FIXED:
            value = _FIXED_VALUES.get(kind.name, f"CAST(0 AS {kind.duckdb})")
            return f"CASE WHEN {column} IS NOT NULL THEN {value} END"
        case _ if action in (HASHED, HASHED_BY_QUERY):
            salt = "none" if action == HASHED else "kept" if stable else "session"
            return f"{function_name(salt, kind)}({column})"
        case _:
            assert action == NULLED
            return "NULL"


def _redacted(text: str) -> str:
    """Return the SQL that shows digits as n, keeps what structures numbers and addresses, and shows x else."""
    return f"regexp_replace(regexp_replace({text}, '[^0-9(),.@-]', 'x', 'g'), '[0-9]', 'n', 'g')"
