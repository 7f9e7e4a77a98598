"""Each masking action on random values of each type: DuckDB's SQL against a reference that shares no code with it."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.contract.masking import ACTIONS, applies
from mesh_platform.contract.types import BINARY, FieldType, parse_type
from mesh_platform.engine.duckdb import connect
from mesh_platform.policy.actions import action_sql
from mesh_platform.policy.masks import Mask
from mesh_platform.policy.pseudonyms import Salts, add_pseudonyms

ROWS = 10_000
SESSION = b"0123456789abcdef"
TYPES = [
    *(parse_type(name) for name in ("string", "int", "long", "double", "boolean", "date", "timestamp")),
    *(parse_type(name) for name in ("timestamptz", "decimal(9,0)", "decimal(12,2)", "decimal(38,38)")),
    BINARY,
]
APART = [(action, kind) for action in ACTIONS for kind in TYPES]
TAKEN = [(action, kind) for action, kind in APART if applies(action, kind)]
# Letters, digits of other scripts, marks that combine, characters of two and of four bytes, control characters.
ALPHABET = "abzAZ0189(),.-@ _/+#nxé́ß٣߀हि日本😀👩‍🚀\n\r\t\x00\x7f\u200b\ufeff\U0010ffff"


@cache
def random_values(kind: FieldType, seed: int) -> list[Any]:
    draw = random.Random(f"{kind.name} {seed}")
    day, days = date(1, 1, 1), (date(9999, 12, 31) - date(1, 1, 1)).days
    spans = timedelta(days=days + 1) // timedelta(microseconds=1) - 1

    largest = 10**kind.precision - 1

    def text() -> str:
        return "".join(draw.choices(ALPHABET, k=draw.choice((0, 1, 3, 4, 5, 8, 20))))

    def instant() -> datetime:
        return datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=draw.randint(0, spans))

    make: dict[str, Callable[[], Any]] = {
        "string": text,
        "binary": lambda: draw.randbytes(draw.choice((0, 1, 4, 33))),
        "int": lambda: draw.choice((0, -1, 2**31 - 1, -(2**31), draw.randint(-(2**31), 2**31 - 1))),
        "long": lambda: draw.choice((0, -1, 2**63 - 1, -(2**63), draw.randint(-(2**63), 2**63 - 1))),
        "double": lambda: draw.choice((0.0, -0.0, float("inf"), 1e308, draw.uniform(-1e9, 1e9))),
        "boolean": lambda: draw.random() < 0.5,
        "date": lambda: day + timedelta(days=draw.randint(0, days)),
        "timestamp": lambda: instant().replace(tzinfo=None),
        "timestamptz": instant,
        "decimal": lambda: Decimal(draw.randint(-largest, largest)).scaleb(-kind.scale),
    }
    one = make[kind.name.partition("(")[0]]
    return [None if draw.random() < 0.05 else one() for _ in range(ROWS)]


def reference(action: str, kind: str, value: Any, scale: int = 0) -> Any:
    """What the standard says of one value that is not missing."""
    if action == "replace-with-null":
        return None
    if action == "mask-to-fixed-value":
        zero = datetime(1970, 1, 1)
        fixed = {"string": "X" * 8, "binary": b"", "int": 0, "long": 0, "double": 0.0, "boolean": False}
        fixed |= {"date": zero.date(), "timestamp": zero, "timestamptz": zero.replace(tzinfo=UTC)}
        return fixed[kind] if kind in fixed else Decimal(0).scaleb(-scale)
    if action in ("mask-alphanum", "show-first-4", "show-last-4"):
        out = []
        for place, letter in enumerate(value):
            shown = place < 4 if action == "show-first-4" else action == "show-last-4" and place >= len(value) - 4
            if shown or letter in "(),.-@":
                out.append(letter)
            else:
                out.append("n" if "0" <= letter <= "9" else "x")
        return "".join(out)
    if action.startswith("truncate-to-"):
        first = value.replace(day=1, **({"month": 1} if action.endswith("year") else {}))
        return first if kind == "date" else first.replace(hour=0, minute=0, second=0, microsecond=0)
    salt = SESSION if action == "sha-256-query-local" else b""
    layout = {"int": "<i", "long": "<q"}.get(kind)
    raw = struct.pack(layout, value) if layout else value.encode() if kind == "string" else value
    digest = hashlib.sha256(salt + raw)
    if layout:
        return struct.unpack_from(layout, digest.digest())[0]
    return digest.hexdigest() if kind == "string" else digest.digest()


def masked(kind: FieldType, values: Sequence[Any], expression: str) -> pa.ChunkedArray:
    with connect({}) as session:
        salts = ("none", "session") if applies("sha-256-global", kind) else ()
        add_pseudonyms(session, Salts(SESSION), [(salt, kind) for salt in salts])
        session.register("given", pa.table({"place": range(len(values)), "c": pa.array(values, kind.arrow)}))
        sql = f"SELECT CAST({expression} AS {kind.duckdb}) AS c FROM given ORDER BY place"
        return session.execute(sql).to_arrow_table()["c"]


def in_bytes(value: Any) -> Any:
    # -0.0 equals 0.0, and two decimals of other scales are equal too.
    if isinstance(value, float):
        return struct.pack("<d", value)
    return value.as_tuple() if isinstance(value, Decimal) else value


@pytest.mark.parametrize(("action", "kind"), TAKEN, ids=lambda each: getattr(each, "name", each))
def test_an_action_does_to_each_value_what_the_standard_says(action: str, kind: FieldType) -> None:
    values = random_values(kind, 1)
    found = masked(kind, values, action_sql(action, "c", kind))
    name = kind.name.partition("(")[0]
    expected = [None if each is None else reference(action, name, each, kind.scale) for each in values]
    assert [*map(in_bytes, found.to_pylist())] == [*map(in_bytes, expected)]
    assert str(found.type) == str(kind.arrow).removeprefix("large_")
    assert found.null_count == (ROWS if action == "replace-with-null" else values.count(None)) > 0


@pytest.mark.parametrize(
    ("action", "kind"), [pair for pair in APART if pair not in TAKEN], ids=lambda each: getattr(each, "name", each)
)
def test_an_action_fails_on_a_type_that_it_does_not_apply_to(action: str, kind: FieldType) -> None:
    with pytest.raises(Exception, match=f"c is masked by '{action}', which does not apply to its type"):
        masked(kind, random_values(kind, 2)[:3], action_sql(action, "c", kind))


def test_an_unknown_action_fails_and_shows_nothing() -> None:
    kind = parse_type("string")
    with pytest.raises(Exception, match="'apply-expression', which does not apply to its type string"):
        masked(kind, ["secret"], action_sql("apply-expression", "c", kind))


def test_the_unknown_member_and_missing_values_stay() -> None:
    kind = parse_type("string")
    for action in ACTIONS:
        if not applies(action, kind):
            continue
        shown = masked(kind, ["unknown", None, "ann"], Mask(action, kind).sql("c")).to_pylist()
        assert shown[:2] == ([None, None] if action == "replace-with-null" else ["unknown", None])
        assert shown[2] == reference(action, "string", "ann")
