"""Two ingest processes die, freeze and race at random while a publisher sends good and bad lines.

A seed, a broker and a number of kills arrive; broken promises leave, and where each kill hit. `make chaos` runs seed
after seed for the time it is given, and goes on where the last run stopped: build/chaos.json keeps count. With
`--servers` the lake is in an S3 store and a REST catalog.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from fault_record import HOLDS, record
from ingest_workers import START, Work, Workers
from invariants import landed_ids, violations
from mesh_platform.errors import UnavailableError
from mesh_platform.faults import POINTS
from mesh_platform.mesh.mesh import Mesh, load_mesh
from native_stack import Stack, catalog_properties, native_stack
from orders import PRODUCT, emptied, ids, lines, send
from spoiled_requests import forget
from traffic import Sent, publishing

from conftest import AMQP_URL, ROOT, State, empty_queues, new_state

NAMES = {
    "embedded": "the embedded broker",
    "rabbitmq": "RabbitMQ",
    "servers": "RabbitMQ, MinIO and a REST catalog on PostgreSQL",
}
COUNT_FILE = ROOT / "build" / "chaos.json"
KILLS_A_ROUND = 10
# Seconds. A frozen process sleeps for longer than the broker waits for it: a lease, or two missed heartbeats.
LEASE = 1.0
HEARTBEAT = 1
FROZEN = {"embedded": 1.4, "rabbitmq": 3.2, "servers": 3.2}
FREEZES = {"embedded": 0.1, "rabbitmq": 0.06, "servers": 0.06}
# Small and frequent flushes, so that there is always a step to be killed in.
LIMITS = {"lines": 200, "bytes": 64 * 1024, "seconds": 0.05}
WORK = Work(PRODUCT, lease=LEASE, limits=LIMITS)
INGEST_POINTS = [name for name in POINTS if name.startswith(("ingest.", "append.", "commit."))]


@dataclass
class Tally:
    """What happened: `places` counts the point that each killed process had passed last."""

    kills: int = 0
    frozen: int = 0
    ended: int = 0
    rounds: int = 0
    confirmed: int = 0
    places: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.kills += other.kills
        self.frozen += other.frozen
        self.ended += other.ended
        self.rounds += other.rounds
        self.confirmed += other.confirmed
        self.places = dict(Counter(self.places) + Counter(other.places))
        self.broken += other.broken


def broker_of(state: State) -> str:
    """`embedded`, `rabbitmq`, or `servers` where the lake is not in the state folder either."""
    if lake_of(state):
        return "servers"
    return "embedded" if state.settings.broker.startswith("sqlite") else "rabbitmq"


def lake_of(state: State) -> dict[str, str] | None:
    """pyiceberg's properties of the catalog; None for that of the state folder."""
    return catalog_properties(state.environment) or None


def torment(
    state: State, mesh: Mesh, workers: Workers, seed: int, sent: Sent, number: int, lifetime: float
) -> tuple[list[str], Tally]:
    """One round: publish, kill some ten times, drain; the promises that are broken then, and what happened.

    `number` is the round's: with the seed it decides all that is drawn. The machine decides what meets when.
    `lifetime` is what `prepare` gave.
    """
    chance = random.Random(f"{seed}/{broker_of(state)}/{number}")
    tally = Tally(rounds=1)
    before = len(sent.confirmed)
    with publishing(state, mesh, sent, chance.random()):
        reports, problems = _kill(state, workers, chance, tally, lifetime)
    drained, more = _drain(state, workers)
    tally.confirmed = len(sent.confirmed) - before
    problems += more
    problems += violations(
        state.folder, PRODUCT, sent.confirmed, sent=sent.tried, runs=[*reports, *drained], catalog=lake_of(state)
    )
    missing = set(ids(sent.good.intersection(sent.confirmed))) - set(
        landed_ids(state.folder, PRODUCT, lake_of(state))
    )
    problems += [f"I4: {each} is good, was confirmed and is not in the landing table" for each in sorted(missing)[:5]]
    return problems, tally


@dataclass
class _Slot:
    """One of the two places in which a process runs; `plan` are the signals to come, each with its time."""

    worker: int
    plan: list[tuple[float, str]]


def _kill(
    state: State, workers: Workers, chance: random.Random, tally: Tally, lifetime: float
) -> tuple[list[list[dict[str, Any]]], list[str]]:
    """Keep two processes up and kill them, until enough died; reports of those that came to their end, problems."""
    reports: list[list[dict[str, Any]]] = []
    problems: list[str] = []
    slots = [_begin(state, workers, chance, lifetime) for _ in range(2)]
    while slots:
        time.sleep(0.004)
        for index, slot in enumerate(slots):
            code = workers.ended(slot.worker)
            if code is None:
                while slot.plan and slot.plan[0][0] <= time.monotonic():
                    name = slot.plan.pop(0)[1]
                    if workers.signal(slot.worker, name) is None and name == "SIGSTOP":
                        tally.frozen += 1
                continue
            if code == -9:
                tally.kills += 1
                place = workers.place(slot.worker)
                tally.places[place] = tally.places.get(place, 0) + 1
            elif code == 0:
                tally.ended += 1
                reports.append(workers.report(slot.worker))
            elif code == UnavailableError.exit_code:
                # It had slept for longer than the broker waits, and says so: what it held is another's now.
                tally.ended += 1
            else:
                problems.append(f"a process ended with {code}: {workers.said(slot.worker)[-2000:]}")
            if tally.kills >= KILLS_A_ROUND or problems:
                del slots[index]
                for other in slots:
                    if all(name == "SIGKILL" for _, name in other.plan):
                        other.plan = [(0.0, "SIGKILL")]
                break
            slots[index] = _begin(state, workers, chance, lifetime)
    return reports, problems


def _begin(state: State, workers: Workers, chance: random.Random, lifetime: float) -> _Slot:
    """A process with its fate: killed at a random time, at a random point, after a long sleep; few end in peace."""
    environment = dict(state.environment)
    broker = broker_of(state)
    if broker != "embedded":
        environment["MESH_BROKER_URL"] += f"?heartbeat={HEARTBEAT}"
    work = replace(WORK, until_empty=chance.random() < 0.3)
    now = time.monotonic()
    fate = chance.random()
    point = f"{chance.choice(INGEST_POINTS)}:%s:{chance.randint(1, 3)}"
    plan = [(now + chance.uniform(0, lifetime), "SIGKILL")]
    if fate < 0.4:
        environment["MESH_FAULT"] = point % "kill"
        plan = [(now + 3 * lifetime, "SIGKILL")]
    elif fate < 0.4 + FREEZES[broker]:
        asleep = now + chance.uniform(0.05, lifetime)
        if chance.random() < 0.5:
            environment["MESH_FAULT"] = point % "stop"
            asleep = now + 2 * lifetime
        awake = asleep + FROZEN[broker]
        plan = [(asleep, "SIGSTOP"), (awake, "SIGCONT"), (awake + chance.uniform(0.05, lifetime), "SIGKILL")]
    elif fate > 0.95:
        work, plan = replace(work, max_seconds=chance.uniform(0.1, lifetime)), []
    return _Slot(workers.start(work, environment), plan)


def _drain(state: State, workers: Workers) -> tuple[list[list[dict[str, Any]]], list[str]]:
    """Ingest without faults until the queue is empty, and the dead letters too; the reports, and what went wrong."""
    reports: list[list[dict[str, Any]]] = []
    calm = replace(WORK, until_empty=True, lease=60.0, limits={})
    for _ in range(10):
        last = []
        for work in (calm, replace(calm, dead_letters=True)):
            worker = workers.start(work, state.environment)
            if workers.wait(worker, patience=120):
                return reports, [f"the drain ended in an error: {workers.said(worker)[-2000:]}"]
            last.append(workers.report(worker))
        reports += last
        if not any(report["deliveries"] for run in last for report in run) and emptied(state):
            return reports, []
    return reports, ["the queue is not empty after ten drains"]


def prepare(state: State, mesh: Mesh, workers: Workers, sent: Sent) -> float:
    """Make the queue and the tables. About how many seconds a process needs to begin and to commit twice."""
    fresh = lines(range(20), minutes=3)
    sent.next_number = 20
    sent.good.update(fresh)
    sent.confirmed += send(state, mesh, fresh)
    begin = time.monotonic()
    reports, problems = _drain(state, workers)
    assert reports, problems
    assert not problems, problems
    return min(2.0, (time.monotonic() - begin) / len(reports) * 1.5)


def spread(places: Mapping[str, int]) -> list[tuple[str, int]]:
    """How often a killed process had passed each point last, in the order of the way of an event."""
    return [(place, places.get(place, 0)) for place in (START, *INGEST_POINTS)]


def run(
    seconds: float | None, seeds: int, kills: int, count_file: Path = COUNT_FILE, stack: Stack | None = None
) -> int:
    """Bring one seed after the other to `kills` on each broker, or on a stack, until `seconds` are over.

    Without `seconds`, ends after so many `seeds`. What an earlier run reached counts, unless it broke a promise. The
    exit code: 1 where one broke now; the state folder is kept then.
    """
    begin = time.monotonic()

    def over() -> bool:
        return seconds is not None and time.monotonic() - begin >= seconds

    mesh = load_mesh(ROOT)
    settings = {"servers": stack.settings} if stack else {"embedded": {}} | _rabbitmq()
    for seed in count(1):
        if seed > seeds and seconds is None:
            break
        for broker, environment in settings.items():
            tally = read_counts(count_file).get(broker, {}).get(seed, Tally())
            if tally.broken:
                tally = Tally()
            if tally.kills < kills and not over():
                problems = _run_seed(mesh, seed, broker, environment, tally, kills, over, count_file)
                if problems:
                    print(*problems, sep="\n", file=sys.stderr)
                    return 1
        if over():
            break
    for broker, reached in read_counts(count_file).items():
        total = sum_of(reached.values())
        print(f"{broker}: {total.kills} kills over {len(reached)} seeds, {total.frozen} freezes", file=sys.stderr)
    return 0


def _rabbitmq() -> dict[str, Mapping[str, str]]:
    try:
        empty_queues(AMQP_URL)
    except UnavailableError as error:
        print(f"The embedded broker alone: {error}", file=sys.stderr)
        return {}
    return {"rabbitmq": {"MESH_BROKER_URL": AMQP_URL}}


def _run_seed(
    mesh: Mesh,
    seed: int,
    broker: str,
    environment: Mapping[str, str],
    tally: Tally,
    kills: int,
    over: Callable[[], bool],
    count_file: Path,
) -> list[str]:
    """Round after round on one state, which goes when all held; the problems of the round that broke a promise."""
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{broker}-{seed}-"))
    state = new_state(folder / "state")
    state.environment.update(environment)
    if broker != "embedded":
        empty_queues(environment["MESH_BROKER_URL"])
    if lake := lake_of(state):
        forget(lake)
    sent = Sent()
    with Workers(folder / "workers") as workers:
        lifetime = prepare(state, mesh, workers, sent)
        while tally.kills < kills and not over():
            problems, more = torment(state, mesh, workers, seed, sent, tally.rounds, lifetime)
            tally.add(more)
            tally.broken += problems
            print(f"{broker}, seed {seed}, round {tally.rounds}: {tally.kills} kills", file=sys.stderr)
            _note(count_file, broker, seed, tally)
            if problems:
                return [f"{broker}, seed {seed}, round {tally.rounds}, in {folder}:", *problems]
    shutil.rmtree(folder)
    return []


def read_counts(count_file: Path = COUNT_FILE) -> dict[str, dict[int, Tally]]:
    """What was reached so far, by broker and seed."""
    if not count_file.exists():
        return {}
    return {
        broker: {int(seed): Tally(**tally) for seed, tally in seeds.items()}
        for broker, seeds in json.loads(count_file.read_text()).items()
    }


def sum_of(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


def _note(count_file: Path, broker: str, seed: int, tally: Tally) -> None:
    counts = read_counts(count_file)
    counts.setdefault(broker, {})[seed] = tally
    count_file.parent.mkdir(parents=True, exist_ok=True)
    part = count_file.with_suffix(".part")
    written = {key: {seed: asdict(each) for seed, each in seeds.items()} for key, seeds in counts.items()}
    part.write_text(json.dumps(written, indent=1))
    part.replace(count_file)
    total = sum_of(counts[broker].values())
    record(
        "kill -9 of two ingest processes at random, some frozen for longer than their lease",
        f"{NAMES[broker]}; `make chaos`",
        total.kills,
        f"BROKEN: {total.broken[0]}"
        if total.broken
        else f"{HOLDS}; {len(counts[broker])} seeds, {total.confirmed} lines confirmed, {total.frozen} freezes",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, help="go on for so long (default 600; with --seeds: to their end)")
    parser.add_argument("--seeds", type=int, help="how many seeds to bring to their kills")
    parser.add_argument("--kills", type=int, default=50, help="kills for each seed and broker (default 50)")
    parser.add_argument("--servers", action="store_true", help="on MinIO, a REST catalog and RabbitMQ of its own")
    given = parser.parse_args()
    if given.seconds is None and given.seeds is None:
        given.seconds = 600
    with native_stack() if given.servers else nullcontext() as servers:
        code = run(given.seconds, given.seeds or 0, given.kills, stack=servers)
    sys.exit(code)
