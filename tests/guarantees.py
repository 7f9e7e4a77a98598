"""docs/guarantees.md: what tests and `make chaos` recorded arrives, the page leaves; `make guarantees`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fault_record import ROOT, Tried, kinds, recorded
from mesh_platform.faults import POINTS

PAGE = ROOT / "docs" / "guarantees.md"
CHAOS = ROOT / "build" / "chaos.json"
_PROMISE = """\
# What ingest promises, and what was tried against it

`make guarantees` writes this page from what the tests and `make chaos` recorded below `build/`. Its figures are those
of runs; none is typed. The last column names the commit that a run was of; `+` means that it had changes on top.

## The promise

For each product, over both brokers, however processes, machines and services fail:

- **I1, once.** At every snapshot of its history, an event id is in the landing table at most once, and a thing
  refused is in the quarantine at most once.
- **I2, first written, then acknowledged.** A message is acknowledged only when a durable snapshot holds each of its
  records, in the landing table or in the quarantine.
- **I3, nothing goes.** Ingest never removes a row.
- **I4, nothing is missing, nothing is invented.** When faults stop and the queues are empty, whatever a publisher got
  a confirm for is in the landing table, in the quarantine, in the dead-letter queue, or in the ledger of what was
  removed on purpose; and nothing is there that nobody published. One id with two contents is two things: the landing
  table has the first, the quarantine each other one.
- **I5, it adds up.** What a run received is the sum of what it appended, quarantined, found to be duplicates,
  dead-lettered and returned; it reports each figure.

`tests/invariants.py` checks this by reading tables and queues; it shares no code with ingest.
`tests/test_invariants.py` breaks the promises on purpose and sees that each is named.

## What was tried

| fault | where and how | times | result | last run |
|---|---|---:|---|---|
"""
_KILLS = """
## Where random kills hit

The point that a killed process had passed last; `tests/chaos.py` draws the moments.

| point | | {brokers} |
|---|---|{rules}|
"""
_AGAIN = """
## Again

    make test test-slow         # tries each fault of the first table a fixed number of times
    make chaos SECONDS=3600     # random kills; goes on where the last call stopped, build/chaos.json keeps count
    make guarantees             # writes this page; exit code 1 where a fault was not tried
"""


def render(records: Iterable[Tried], chaos: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The page. `chaos` is what build/chaos.json holds: counts by broker and seed."""
    rows = [
        f"| {each.fault} | {each.how} | {each.times:,} | {each.result} | {each.at}, {each.revision or 'no git'} |"
        for each in records
    ]
    page = _PROMISE + "\n".join(_flat(row) for row in rows) + "\n"
    if chaos:
        brokers = sorted(chaos)
        page += _KILLS.format(brokers=" | ".join(brokers), rules="|".join("---:" for _ in brokers))
        for place, meaning in {"start": "it was starting", **POINTS}.items():
            hits = [sum(seed["places"].get(place, 0) for seed in chaos[broker].values()) for broker in brokers]
            if any(hits):
                page += f"| {f'`{place}`' if place in POINTS else '-'} | {meaning} | {' | '.join(map(str, hits))} |\n"
    return page + _AGAIN


def _flat(row: str) -> str:
    return " ".join(row.split())


def write(page: Path = PAGE) -> int:
    """Write the page, unless a kind of fault that some test tries is not on record; the exit code."""
    by_kind = dict(kinds())
    # What no test tries any more is a record of the past.
    records = [each for each in recorded() if each.fault in by_kind]
    tried = {each.fault for each in records}
    missing = sorted(f"{path.relative_to(ROOT)}: {kind}" for kind, path in by_kind.items() if kind not in tried)
    if missing:
        print("Not on record; run these tests, then again:", *missing, sep="\n  ", file=sys.stderr)
        return 1
    page.write_text(render(records, json.loads(CHAOS.read_text()) if CHAOS.exists() else {}))
    print(f"{page.relative_to(ROOT)}: {len(records)} rows.", file=sys.stderr)
    return 1 if any("BROKEN" in each.result for each in records) else 0


if __name__ == "__main__":
    sys.exit(write())
