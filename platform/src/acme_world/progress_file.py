"""How far a state folder has got in the simulated history: `world.json` arrives and leaves."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

from mesh_platform.errors import UsageError
from mesh_platform.settings import Settings

from acme_world.faults import Rates

DEFAULT_SEED = 7
# Sixty days from here pass the end of summer time, when an hour comes twice.
DEFAULT_START = date(2025, 10, 1)


@dataclass(frozen=True)
class Progress:
    """One history, and the days of it that each domain has sent."""

    seed: int
    start: date
    rates: Rates
    days: Mapping[str, int]

    def done(self, domain: str) -> int:
        """The days that `domain` has sent."""
        return self.days.get(domain, 0)


def read_progress(settings: Settings, seed: int | None, start: date | None, rates: Rates | None) -> Progress:
    """The history of the state folder, or a new one as asked for.

    Raises UsageError where the folder holds another history than is asked for.
    """
    path = _path(settings)
    if not path.exists():
        return Progress(DEFAULT_SEED if seed is None else seed, start or DEFAULT_START, rates or Rates(), {})
    data = json.loads(path.read_text())
    found = Progress(data["seed"], date.fromisoformat(data["start"]), Rates(**data["rates"]), data["days"])
    asked = Progress(found.seed if seed is None else seed, start or found.start, rates or found.rates, found.days)
    if asked != found:
        raise UsageError(
            f"{settings.state_dir} holds the history of seed {found.seed} from {found.start} with {found.rates.as_option()}. "
            "Go on with that one, name another MESH_STATE, or start over with 'make clean-state'."
        )
    return found


def write_progress(settings: Settings, progress: Progress, sent: Mapping[str, int]) -> Progress:
    """Record that domains have sent so many days, never fewer than before; the progress as it is now."""
    days = {**progress.days, **{name: max(count, progress.done(name)) for name, count in sent.items()}}
    text = json.dumps(
        {"seed": progress.seed, "start": progress.start.isoformat(), "rates": asdict(progress.rates), "days": days}
    )
    path = _path(settings)
    beside = path.with_suffix(".tmp")
    beside.write_text(text)
    os.replace(beside, path)
    return replace(progress, days=days)


def _path(settings: Settings) -> Path:
    return settings.state_dir / "world.json"
