"""`mesh maintain` as people and schedules call it: what it prints, what it takes, and how it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

from invariants import landed_ids, violations
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, in_batches, lines, send

from conftest import State

RAW = f"{PRODUCT}__raw"


def test_maintain_says_what_it_did_and_what_it_would_do(state: State, mesh: Mesh) -> None:
    assert state.json("maintain") == []
    confirmed: list[bytes] = []
    for first in range(0, 30, 10):
        confirmed += send(state, mesh, in_batches(lines(range(first, first + 10), minutes=1), 5))
        state.mesh("ingest", PRODUCT, "--until-empty")
    orphan = Path(state.folder, "warehouse", *RAW.split("."), "data", "ö b%20.parquet")
    orphan.write_text("x")
    os.utime(orphan, (time.time() - 10_000,) * 2)

    planned = {row["table"]: row for row in state.json("maintain", "--dry-run")}
    assert (planned[RAW]["compacted"], planned[RAW]["orphans_removed"], planned[RAW]["skipped"]) == (3, 1, None)
    assert orphan.exists()
    text = state.mesh("maintain", "--dry-run")
    assert RAW in text.out
    assert "of them nothing would be done" in text.err

    (done,) = state.json("maintain", RAW)
    assert done.keys() >= {"table", "compacted", "expired", "orphans_removed", "skipped"}
    assert (done["compacted"], done["expired"], done["orphans_removed"]) == (3, 0, 1)
    assert not orphan.exists()
    assert state.json("history", RAW)[0]["operation"] == "replace"
    assert violations(state.folder, PRODUCT, confirmed) == []
    assert len(landed_ids(state.folder, PRODUCT)) == 30
    assert state.json("build", PRODUCT)[-1]["rows"] == 30
    assert all(row["compacted"] == row["expired"] == 0 for row in state.json("maintain", "south_warehouse"))
    assert {row["mode"] for row in state.json("build", PRODUCT)} == {"noop"}


def test_wrong_use_and_a_lake_that_is_not_there(state: State) -> None:
    assert (
        "south_warehouse.order_south: no such table or domain. Did you mean"
        in state.mesh("maintain", "south_warehouse.order_south", check=2).err
    )
    assert "MESH_ORPHAN_AGE_S" in state.mesh("maintain", check=2, MESH_ORPHAN_AGE_S="-1").err
    state.folder.mkdir(exist_ok=True)
    (state.folder / "catalog.db").unlink(missing_ok=True)
    (state.folder / "catalog.db").write_bytes(b"this was a database " * 100)
    assert "catalog.db: a file that is needed is missing or damaged" in state.mesh("maintain", check=1).err
