"""The schedules and time limits of pipelines, for Airflow and for the rule that freshness can be kept."""

from __future__ import annotations

from datetime import timedelta

HOUR = timedelta(hours=1)
# When each runs without a trigger; new events trigger ingest and build earlier.
CRON = {
    "ingest": "7 * * * *",
    "build": "37 * * * *",
    "maintain": "17 3 * * *",
    "freshness": "*/15 * * * *",
    "train": "23 4 * * 1",
    "predict": "53 5 * * *",
}
# The longest time between two scheduled runs.
EVERY = {"ingest": HOUR, "build": HOUR}
# The time limit of one attempt of a task; the promise of freshness assumes that the first attempt succeeds.
WITHIN = {
    "ingest": timedelta(minutes=30),
    "build": HOUR,
    "maintain": 2 * HOUR,
    "freshness": timedelta(minutes=10),
    "backfill": 6 * HOUR,
    "train": 2 * HOUR,
    "predict": HOUR,
}


def longest(kind: str) -> timedelta:
    """The longest time from an arrival to the end of the next scheduled run, for `ingest` or `build`."""
    return EVERY[kind] + WITHIN[kind]
