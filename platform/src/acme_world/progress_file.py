"""The progress of a state folder in the simulated history, stored in `world.json`."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

from mesh_platform.errors import AttentionError, UnavailableError, UsageError
from mesh_platform.settings import Settings

from acme_world.wire.faults import Rates

DEFAULT_SEED = 7
# The next sixty days include the end of summer time, when an hour occurs twice.
DEFAULT_START = date(2025, 10, 1)


@dataclass(frozen=True)
class Progress:
    """One history, and how many of its days each domain has sent completely (`days`) and begun to send (`begun`)."""

    seed: int
    start: date
    rates: Rates
    days: Mapping[str, int]
    begun: Mapping[str, int]

    def done(self, domain: str) -> int:
        """The days that `domain` has sent."""
        return self.days.get(domain, 0)

    def after(self, domains: Iterable[str], target: int) -> Progress:
        """The same history after the domains have sent `target` days, or more if they already had."""
        return replace(self, days={**self.days, **{name: max(target, self.done(name)) for name in domains}})


@contextmanager
def alone_in(settings: Settings) -> Iterator[None]:
    """Lock the state folder against other runs. Raises UnavailableError where another run has it."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with (settings.state_dir / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnavailableError(f"another 'mesh run' is at work in {settings.state_dir}. Wait for it.") from None
        yield


def read_progress(settings: Settings, seed: int | None, start: date | None, rates: Rates | None) -> Progress:
    """Read the history of the state folder, or create a new one as requested.

    Raises UsageError where the folder has another history than requested, AttentionError where the file is damaged.
    """
    path = _path(settings)
    if not path.exists():
        return Progress(DEFAULT_SEED if seed is None else seed, start or DEFAULT_START, rates or Rates(), {}, {})
    try:
        data = json.loads(path.read_text())
        first_day, found_rates = date.fromisoformat(data["start"]), Rates(**data["rates"])
        found = Progress(data["seed"], first_day, found_rates, data["days"], data["begun"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AttentionError(f"{path}: damaged. Put it back, or start over with 'make clean-state'.") from error
    asked = replace(
        found, seed=found.seed if seed is None else seed, start=start or found.start, rates=rates or found.rates
    )
    if asked != found:
        raise UsageError(
            f"{settings.state_dir} holds the history of seed {found.seed} from {found.start} with "
            f"{found.rates.as_option()}. Go on with that one, name another MESH_STATE, or start over with "
            "'make clean-state'."
        )
    return found


def note_begun(settings: Settings, progress: Progress, domains: Iterable[str], target: int) -> Progress:
    """Record, before the first event is sent, that the domains begin to send up to `target` days.

    So a killed run can be continued: the events sent are known to belong to this history, and to these days.
    """
    begun = {name: max(target, progress.begun.get(name, 0)) for name in domains}
    return _write(settings, replace(progress, begun={**progress.begun, **begun}))


def note_done(settings: Settings, progress: Progress, domains: Iterable[str], target: int) -> Progress:
    """Record that the domains have sent `target` days, or more if they already had."""
    return _write(settings, progress.after(domains, target))


def _write(settings: Settings, progress: Progress) -> Progress:
    plain = {**asdict(progress), "start": progress.start.isoformat()}
    write_whole(_path(settings), json.dumps(plain))
    return progress


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it has either its old content or `text`, even if this process is killed."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def _path(settings: Settings) -> Path:
    return settings.state_dir / "world.json"
