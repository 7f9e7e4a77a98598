"""Every key and value of this repository's contracts is changed, one at a time: none is changed without an effect.

A change is refused by the reader, or changes the contract that is read, from which everything else is derived. What
does neither is listed in HARMLESS, with the reason. Domains say half of it in the same words; that is read once.
"""

from __future__ import annotations

import copy
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.contract.contract import Contract
from mesh_platform.contract.odcs import plain
from mesh_platform.contract.reader import SUFFIX, read_document_as_contract
from mesh_platform.contract.yaml_document import Document, parse

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "domains").glob(f"*/*/*{SUFFIX}"))
Place = tuple[str | int, ...]
Mutation = tuple[str, Place, Any]

# The kind and the place of each change that has no effect, and why it may have none.
HARMLESS = {
    "delete description.limitations": "text for people; only description.purpose is required",
    "replace description.limitations": "text for people",
    "delete roles.*.description": "text for people",
    "replace roles.*.description": "text for people",
    "misspell description.limitations": "text for people",
    "misspell roles.*.description": "text for people",
    "misspell roles.*.access": "a role may read, whatever it says; nothing here grants the right to write",
    "delete roles.*.access": "a role may read, whatever it says; nothing here grants the right to write",
    "replace roles.*.access": "a role may read, whatever it says; nothing here grants the right to write",
    "delete schema.*.quality.*.dimension": "a label of the rule for other tools",
    "replace schema.*.quality.*.dimension": "a label of the rule for other tools",
    "delete schema.*.properties.*.primaryKeyPosition": "position 1 is the default",
    "delete slaProperties": "only where they hold the default, a retention of 10 years",
    "delete slaProperties.*": "only where it is the default, a retention of 10 years",
    "repeat schema.*.properties.*.quality.*": "an event that breaks the same rule twice is quarantined once",
    "repeat schema.*.properties.*.authoritativeDefinitions.*": "the same link",
}
# Values of which a file may have one of some.
OTHERS = {
    "physicalType": {"string": "long", "table": "event", "event": "table"},
    "logicalType": {"string": "integer", "integer": "string", "number": "string"},
    "classification": {"pii": "internal", "internal": "pii", "confidential": "public", "public": "confidential"},
    "status": {"active": "deprecated", "draft": "active", "retired": "active"},
    "unit": {"h": "d", "d": "m", "m": "y", "y": "h"},
    "apiVersion": {"v3.2.0": "v3.0.2", "v3.1.0": "v3.0.2"},
    "property": {"freshness": "latency", "latency": "freshness", "retention": "latency"},
    "access": {"read": "write"},
    "dimension": {"consistency": "accuracy"},
}


def mutations(data: Any, place: Place = ()) -> Iterator[Mutation]:
    """Each change of a document: a kind, a place, and the new value of what holds the place."""
    for key in [*data] if isinstance(data, dict) else range(len(data)):
        here, value = (*place, key), data[key]
        if isinstance(data, dict):
            yield "delete", here, {k: v for k, v in data.items() if k != key}
            yield "rename", here, {f"{k}x" if k == key else k: v for k, v in data.items()}
        else:
            yield "delete", here, [each for i, each in enumerate(data) if i != key]
            yield "repeat", here, [*data[: key + 1], *data[key:]]
        others = {"retype": _retyped(value), "replace": _replaced(key, value), "misspell": _misspelt(value)}
        for kind, other in others.items():
            if other != value or type(other) is not type(value):
                changed = copy.copy(data)
                changed[key] = other
                yield kind, here, changed
        if isinstance(value, dict | list):
            yield from mutations(value, here)


def _retyped(value: Any) -> Any:
    match value:
        case bool():
            return "perhaps"
        case str():
            return 7
        case int() | float():
            return "seven"
        case list():
            return {}
        case _:
            return []


def _misspelt(value: Any) -> Any:
    return f"{value[1:]}x" if isinstance(value, str) else value


def _replaced(key: Any, value: Any) -> Any:
    match value:
        case bool():
            return not value
        case str():
            if re.fullmatch(r"\d+\.\d+\.\d+", value):
                return "7.7.7"
            return OTHERS.get(str(key), {}).get(value, f"{value}x")
        case int() | float():
            return value + 1
    return value


def applied(data: Any, place: Place, holder: Any) -> Any:
    """The document with another holder of `place`; what is not on the way to it is shared."""
    if len(place) == 1:
        return holder
    changed = copy.copy(data)
    changed[place[0]] = applied(data[place[0]], place[1:], holder)
    return changed


def read(data: Any, path: Path) -> Contract | None:
    """The contract without the numbers of its lines; None where it is refused."""
    document = Document(str(path.relative_to(ROOT)), data, {})
    contract, problems = read_document_as_contract(document, path.name.removesuffix(SUFFIX), path.parts[-3])
    return None if problems or contract is None else contract


def part_of(data: Any, place: Place) -> Any:
    """The whole column that a place lies in, or the part that holds it: what the reader looks at together."""
    in_column = len(place) > 4 and place[2] == "properties"
    for key in place[: 4 if in_column else -1]:
        data = data[key]
    return data


def label(kind: str, place: Place) -> str:
    return f"{kind} {'.'.join('*' if isinstance(part, int) else part for part in place)}"


def check(share: float, seed: int = 1) -> Counter[str]:
    """Try a share of all changes; return how many were refused, had an effect, and had none."""
    drawn = random.Random(seed)
    happened, unexpected, renamed = Counter[str](), [], []
    outcomes: dict[tuple[object, ...], str] = {}
    for path in FILES:
        document = parse(path.read_text(encoding="utf-8"), path.name)
        assert isinstance(document, Document)
        data = plain(document.data)
        before = read(data, path)
        assert before is not None, path
        for kind, place, holder in mutations(data):
            if share < 1 and drawn.random() > share:
                continue
            same = (path.parts[-2], len(data["schema"]), label(kind, place), place[4:], repr(part_of(data, place)))
            if same in outcomes:
                happened[outcomes[same]] += 1
                continue
            after = read(applied(data, place, holder), path)
            outcomes[same] = "refused" if after is None else "another contract" if after != before else "harmless"
            happened[outcomes[same]] += 1
            if kind == "rename" and after is not None:
                renamed.append(f"{path.name}: {place}")
            if after == before and label(kind, place) not in HARMLESS:
                unexpected.append(f"{path.name}: {label(kind, place)} {place}")
    assert unexpected == []
    # A key with a typo never counts as one that is missing.
    assert renamed == []
    return happened


def test_a_draw_of_changes_has_effects() -> None:
    assert check(0.01)["refused"] > 100


@pytest.mark.thorough
def test_every_change_of_every_contract_has_an_effect(record_property: Callable[[str, object], None]) -> None:
    happened = check(1)
    record_property("changes", dict(happened))
    assert sum(happened.values()) > 40_000
    assert happened["harmless"] < 0.01 * sum(happened.values())
