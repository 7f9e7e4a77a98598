"""Every key and value of this repository's contracts is changed, one at a time: none is changed without an effect.

A change is refused by the reader, or changes the contract that is read, from which everything else is derived. What
does neither is listed in HARMLESS, with the reason.
"""

from __future__ import annotations

import copy
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mesh_platform.contract.contract import Contract
from mesh_platform.contract.odcs import plain
from mesh_platform.contract.reader import SUFFIX, read_document_as_contract
from mesh_platform.contract.yaml_document import Document, parse

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "domains").glob(f"*/*/*{SUFFIX}"))
Path_ = tuple[str | int, ...]
Mutation = tuple[str, Path_, Any]

# The place and the kind of a change that has no effect, as a pattern, and why it may have none.
HARMLESS = {
    r"retype .*": "-",
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


def mutations(data: Any, place: Path_ = ()) -> Iterator[Mutation]:
    """Each change of a document: a kind, a place, and the new value of what holds the place."""
    for key in [*data] if isinstance(data, dict) else range(len(data)):
        here, value = (*place, key), data[key]
        if isinstance(data, dict):
            yield "delete", here, {k: v for k, v in data.items() if k != key}
            yield "rename", here, {f"{k}x" if k == key else k: v for k, v in data.items()}
        else:
            yield "delete", here, [each for i, each in enumerate(data) if i != key]
            yield "repeat", here, [*data[: key + 1], *data[key:]]
        for kind, other in (("retype", _retyped(value)), ("replace", _replaced(key, value))):
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


def applied(data: Any, place: Path_, holder: Any) -> Any:
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


def label(kind: str, place: Path_) -> str:
    return f"{kind} {'.'.join('*' if isinstance(part, int) else part for part in place)}"


def effects(files: list[Path], share: float, seed: int = 1) -> tuple[Counter[str], Counter[str], list[str]]:
    """How often what happened, what had no effect, and an example of each of these."""
    drawn = random.Random(seed)
    happened, without, examples = Counter[str](), Counter[str](), []
    for path in files:
        document = parse(path.read_text(), "x")
        assert isinstance(document, Document)
        data = plain(document.data)
        before = read(data, path)
        assert before is not None, path
        for kind, place, holder in mutations(data):
            if share < 1 and drawn.random() > share:
                continue
            after = read(applied(data, place, holder), path)
            if after is None:
                happened["refused"] += 1
            elif after != before:
                happened["other contract"] += 1
                if kind == "rename":
                    without[f"TYPO {label(kind, place)}"] += 1
            else:
                happened["no effect"] += 1
                if label(kind, place) not in without:
                    examples.append(f"{path.name} {kind} {place}")
                without[label(kind, place)] += 1
    return happened, without, examples
