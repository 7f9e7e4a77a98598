"""How often pipelines look by themselves, and how long they may take: Airflow and the proof of freshness ask here."""

from __future__ import annotations

from datetime import timedelta

HOUR = timedelta(hours=1)
# When each looks by itself; ingest and build are woken before that by what arrives.
CRON = {"ingest": "7 * * * *", "build": "37 * * * *", "maintain": "17 3 * * *", "freshness": "*/15 * * * *"}
# The longest time between two looks.
EVERY = {"ingest": HOUR, "build": HOUR}
# After so long a try of a task is given up; freshness is promised for what a first try does.
WITHIN = {
    "ingest": timedelta(minutes=30),
    "build": HOUR,
    "maintain": 2 * HOUR,
    "freshness": timedelta(minutes=10),
    "backfill": 6 * HOUR,
}


def longest(kind: str) -> timedelta:
    """How long what has come may wait for the next look and be worked on, for `ingest` or `build`."""
    return EVERY[kind] + WITHIN[kind]
