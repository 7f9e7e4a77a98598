"""Four ingest processes, a compactor and an expirer at once: the promises hold at each of hundreds of commits."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import pytest
from history_watch import HistoryWatch
from invariants import landed_ids, violations
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, bad, ids, in_batches, lines, send, waiting

from conftest import ROOT, State, draws

COMMITS = draws(200, 2000)
INGEST = """
import json, random, sys, time
from dataclasses import asdict
from mesh_platform.ingest import ingest
from mesh_platform.broker import connect
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.settings import Settings
settings = Settings()
mesh = load_mesh(settings.root)
ingest._RECEIVE = 1
validate = ingest.validate
def validate_slowly(*arguments):
    # Four that never rest would spend most of their time on commits that come too late.
    time.sleep(random.uniform(0, 2))
    return validate(*arguments)
ingest.validate = validate_slowly
with connect(settings.broker) as broker:
    done = ingest.ingest(
        open_catalog(settings), broker, [mesh.contract(sys.argv[1])], settings.now,
        until_empty=True, limits=ingest.Limits(lines=1),
    )
print(json.dumps([asdict(each) for each in done]))
"""
# The compactor merges what there is; the expirer does all steps of maintenance. Both go on until they are ended.
MAINTAIN = """
import sys, time
from datetime import timedelta
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.lake.catalog import find_table, open_catalog
from mesh_platform.iceberg.compaction import compact
from mesh_platform.lake.maintain import maintain
from mesh_platform.settings import Settings
kind, *tables = sys.argv[1:]
settings = Settings()
mesh, catalog = load_mesh(settings.root), open_catalog(settings)
done = 0
while True:
    there = [table for table in tables if find_table(catalog, table)]
    for table in there if kind == "compactor" else ():
        done += compact(lambda: catalog.load_table(table)).files
    if kind == "expirer" and there:
        for maintained in maintain(mesh, catalog, there, orphan_age=timedelta(seconds=20)):
            assert not maintained.failed, maintained
            done += maintained.expired
    print(done, flush=True)
    time.sleep(2)
"""


@pytest.mark.slow
def test_four_that_ingest_a_compactor_and_an_expirer_at_once(state: State, mesh: Mesh) -> None:
    chance = random.Random(4)
    good = lines(range(4 * COMMITS), minutes=1)
    bodies = in_batches(good, 4)
    bodies += chance.sample(bodies, COMMITS // 20)
    chance.shuffle(bodies)
    refused = [bad(10**6 + number) for number in range(COMMITS // 20)]
    bodies = [
        body + b"\n" + refused[n // 20] if n % 20 == 0 and n // 20 < len(refused) else body
        for n, body in enumerate(bodies)
    ]
    confirmed = send(state, mesh, bodies)

    tables = [f"{PRODUCT}__raw", f"{PRODUCT}__rejected"]
    watches = [
        HistoryWatch(state.folder, tables[0], "event_id"),
        HistoryWatch(state.folder, tables[1], "rejection_key"),
    ]
    begin = time.monotonic()
    maintainers = [start(state, MAINTAIN, kind, *tables) for kind in ("compactor", "expirer")]
    workers = [start(state, INGEST, PRODUCT) for _ in range(4)]
    try:
        while any(worker.poll() is None for worker in workers):
            for watch in watches:
                watch.look()
            assert [maintainer.poll() for maintainer in maintainers] == [None, None], maintainers[0].stderr
            time.sleep(0.5)
    finally:
        for process in (*maintainers, *workers):
            process.kill()
    for watch in watches:
        watch.look()
    seconds = time.monotonic() - begin
    runs = []
    for worker in workers:
        out, err = worker.communicate()
        assert worker.returncode == 0, err
        runs.append(json.loads(out))
    maintained = [int(maintainer.communicate()[0].split()[-1]) for maintainer in maintainers]
    landing = watches[0]
    print(
        f"{landing.commits} commits in {seconds:.0f} s, looked at {dict(landing.operations)}, maintained {maintained}"
    )

    assert waiting(state) == 0
    assert [watch.faults for watch in watches] == [[], []]
    assert violations(state.folder, PRODUCT, confirmed, runs=runs) == []
    assert landed_ids(state.folder, PRODUCT) == ids(good)
    assert sum(run[0]["appended"] for run in runs) == 4 * COMMITS
    assert landing.commits >= COMMITS
    # What was looked at is nearly all that there was. How often the maintainers come first is a matter of the
    # machine.
    assert landing.operations.total() > 0.9 * landing.commits
    assert min(maintained) > COMMITS // 50


def start(state: State, program: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env=state.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
