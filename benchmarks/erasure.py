"""What it costs to erase one of 10,000 customers, whose rows are in every file of a landing table and a product.

It is compared with writing the same files once, from rows that are in memory already. The peak is that of the process
of `mesh erase`, the proof included.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from mesh_platform.build.build import build
from mesh_platform.iceberg.commit import append_rows, write_files
from mesh_platform.iceberg.snapshot_diff import all_files, read_files
from mesh_platform.lake.catalog import arrow_schema, ensure_table, open_catalog
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.settings import Settings
from pyiceberg.table import Table

from benchmarks.figures import Bench
from benchmarks.scattered_keys import FIRST, draw, write_mesh

ROWS, DAYS, PARTS, CUSTOMERS = 5_000_000, 350, 7, 10_000
PRODUCT, PERSON = "shop.dated", "C-004711"
AT_MOST, MOST = 1.3, 750


def measure(bench: Bench) -> None:
    """The CPU of one erasure, against that of the writing alone."""
    rows = bench.size(ROWS, 50_000)
    with bench.scratch() as folder:
        write_mesh(folder)
        mesh = load_mesh(folder)
        catalog = open_catalog(Settings(root=folder, state=folder / "state"))
        contract = mesh.contracts["shop.scattered"]
        table, table_schema = landing_name(contract), landing_schema(contract)
        schema, days = arrow_schema(table_schema), DAYS // PARTS
        for part in range(PARTS):
            made = draw(FIRST + timedelta(days=part * days), days, rows // PARTS, f"{part}", CUSTOMERS)
            append_rows(ensure_table(catalog, table, table_schema), made.select(schema.names).cast(schema))
        build(mesh, catalog, [PRODUCT])
        written = sum(_write_again(catalog.load_table(name)) for name in (table, PRODUCT))
        figures = _erase(folder)
        gone = json.loads((folder / "erased.json").read_text())["tables"]
        assert gone.keys() == {table, PRODUCT}, f"{gone} are not both tables"
    bench.add("erase one of 10,000 customers: rows", sum(each["rows"] for each in gone.values()), "rows")
    bench.add("erase one of 10,000 customers: CPU", figures["cpu"], "s")
    bench.add("erase one of 10,000 customers: peak", figures["mb"], "MB", at_most=MOST)
    ratio = figures["cpu"] / written
    bench.ratio("erase one of 10,000 customers", ratio, against="writing the files once", at_most=AT_MOST)


def _write_again(table: Table) -> float:
    """CPU seconds of writing the rows of each file once more; the files are removed at once."""
    spent = 0.0
    names = [field.name for field in table.schema().fields]
    for task in all_files(table):
        rows = read_files(table, [task], names)
        began = _cpu()
        written = write_files(table, rows, target_bytes=2**62)
        spent += _cpu() - began
        for file in written:
            table.io.delete(file.file_path)
    return spent


def _erase(folder: Path) -> dict[str, float]:
    environment = os.environ | {"MESH_ROOT": str(folder), "MESH_STATE": str(folder / "state")}
    words = ("--where", f"customer_id={PERSON}", "--request", "R1", "--by", "bench", "--reason", "bench")
    command = [sys.executable, "-m", "benchmarks.counted_command", str(folder / "figures.json"), "erase", *words]
    with (folder / "erased.json").open("w") as out:
        subprocess.run([*command, "--format", "json"], env=environment, stdout=out, check=True)
    found: dict[str, float] = json.loads((folder / "figures.json").read_text())
    return found


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
