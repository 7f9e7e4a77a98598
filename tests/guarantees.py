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
# Guarantees of ingest

This page lists what ingest promises and the faults that it was tested with. `make guarantees` writes it from
the records of the tests and of `make chaos` below `build/`; no figure is typed by hand. The last column of the
table names the commit that was tested; `+` means that it had uncommitted changes.

The promises hold for each product, over both brokers, however processes, machines and services fail. The files
are in `platform/src/mesh_platform`.

### I1: once

- **Promise:** at every snapshot of its history, an event id is in the landing table at most once, and a refused
  record or message is in the quarantine at most once.
- **Enforced in:** `append_new` (`iceberg/append.py`). It compares the keys with those in the table, and commits
  only if the table's snapshot is still the one that it compared.
- **If violated:** counts and sums are too high, in the landing table and in every table built from it.

### I2: first written, then acknowledged

- **Promise:** a message is acknowledged only when a durable snapshot holds each of its records, in the landing
  table or in the quarantine.
- **Enforced in:** the writer of `ingest/ingest.py`, which acknowledges after `write` returned;
  `iceberg/durable_io.py`, which syncs files and folders before the commit.
- **If violated:** a crash or a power cut loses events that the broker no longer has.

### I3: nothing is removed

- **Promise:** ingest never removes a row.
- **Enforced in:** `append_new`, which commits new files and removes none.
- **If violated:** accepted events disappear from the tables although they were acknowledged.

### I4: nothing is missing, nothing is invented

- **Promise:** when faults stop and the queues are empty, everything that the broker confirmed to a publisher is
  in the landing table, in the quarantine, in the dead-letter queue, or in the ledger of what was removed on
  purpose, or of a person who was erased. Nothing else is there. If one id arrives with two contents, the landing
  table keeps the first, and the quarantine keeps every other.
- **Enforced in:** `validate` (`ingest/validator.py`), which accepts or rejects each record, and `write`
  (`ingest/ingest.py`), which also quarantines an id with other content (`iceberg/reused_ids.py`).
- **If violated:** totals are too low, or include rows that nobody sent.

### I5: the counts add up

- **Promise:** the records that a run received are the sum of those that it appended, quarantined or
  dead-lettered, and of duplicates. It reports each figure.
- **Enforced in:** `Ingested` (`ingest/ingest.py`), which counts each record once.
- **If violated:** the report of a run does not show a lost or a doubled event.

`tests/invariants.py` checks the promises by reading tables and queues; it shares no code with ingest.
`tests/test_invariants.py` breaks promises on purpose, and checks that `tests/invariants.py` names each.

## What was tried

| fault | where and how | times | result | last run |
|---|---|---:|---|---|
"""
_KILLS = """
## Where random kills hit

`tests/chaos.py` kills processes at random moments. The table counts the last point that each had passed.

| point | | {brokers} |
|---|---|{rules}|
"""
_AGAIN = """
## Reproduce

    make test test-slow test-thorough   # tries each fault of the first table a fixed number of times
    make chaos SECONDS=3600              # kills at random; goes on where the last call stopped (build/chaos.json)
    make guarantees                      # writes this page; exit code 1 if a fault was not tried
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
