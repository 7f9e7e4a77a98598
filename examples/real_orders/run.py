"""Send real purchases through the orders producers, and hold `fact_orders` against the file.

The file (`--file`, default the copy beside this) has the columns customer_id,date,quantity,amount_usd. Customers are
spread over the four warehouses. A file that was sent before, in whatever order, adds nothing.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import yaml
from mesh_platform.cli.output import write_json
from mesh_platform.cli.text_table import write_table
from mesh_platform.settings import Settings

HERE = Path(__file__).resolve().parent
REGIONS = ("north", "south", "east", "west")
PRODUCT = "P-CDNOW"
# 1997 is long past what ACME's own contracts keep; month partitions suit a few dozen rows a day.
RETENTION = {"property": "retention", "value": 60, "unit": "y"}
LANDING_PARTITION = {"property": "mesh.partition", "value": ["month(event_time)"]}


def main() -> None:
    """Make the example's mesh, replay, ingest, build, compare. Exit code 1 where a total differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=HERE / "cdnow_purchases.csv.gz")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    arguments = parser.parse_args()

    state = Settings(root=HERE.parents[1]).state_dir
    root = make_mesh(HERE.parents[1], state / "mesh")
    environment = {**os.environ, "MESH_ROOT": str(root), "MESH_STATE": str(state)}
    purchases = list(read_purchases(arguments.file))
    sent = 0
    for region in REGIONS:
        path = state / f"orders_{region}.csv"
        write_orders(path, region, purchases)
        script = root / "domains" / f"{region}_warehouse" / "producers" / f"produce_orders_{region}.py"
        sent += run_json(environment, script, "replay", path)["confirmed"]
    mesh = Path(sys.executable).with_name("mesh")
    ingested = run_json(environment, mesh, "ingest", "--until-empty")
    run_json(environment, mesh, "build")
    found = {row["month"]: row for row in run_json(environment, mesh, "query", TOTALS)}
    expected = count(purchases)
    months = sorted(expected.keys() | found.keys())
    rows = [
        {
            "month": month,
            **{name: expected.get(month, {}).get(name) for name in MEASURES},
            "equal": all(str(expected.get(month, {}).get(n)) == str(found.get(month, {}).get(n)) for n in MEASURES),
        }
        for month in months
    ]
    result = {
        "sent": sent,
        "appended": sum(each["appended"] for each in ingested),
        "duplicates": sum(each["duplicates"] for each in ingested),
        "quarantined": sum(each["quarantined"] for each in ingested),
        **{name: found.get("all", {}).get(name) for name in MEASURES},
        "equal": all(row["equal"] for row in rows),
    }
    if arguments.format == "json":
        write_json({**result, "by_month": rows})
    else:
        write_table(rows, title="fact_orders against the file, by month")
        write_table([result])
    sys.exit(0 if result["equal"] else 1)


MEASURES = ("rows", "quantity", "amount_usd")
TOTALS = """
select coalesce(strftime(order_ts, '%Y-%m'), 'all') as month, count(*) as "rows", sum(quantity)::bigint as quantity,
    sum(amount_usd) as amount_usd
from logistics_core.fact_orders group by rollup (strftime(order_ts, '%Y-%m')) order by 1
"""


def make_mesh(repository: Path, root: Path) -> Path:
    """A copy of the mesh at `root` whose orders contracts keep history long enough, with the product sold."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(repository / "domains", root / "domains", ignore=shutil.ignore_patterns("__pycache__"))
    for region in REGIONS:
        path = root / "domains" / f"{region}_warehouse" / "contracts" / f"orders_{region}.odcs.yaml"
        contract = yaml.safe_load(path.read_text(encoding="utf-8"))
        contract["slaProperties"] = [p for p in contract["slaProperties"] if p["property"] != "retention"] + [
            RETENTION
        ]
        event = contract["schema"][0]
        event["customProperties"] = [
            LANDING_PARTITION if p["property"] == "mesh.partition" else p for p in event["customProperties"]
        ]
        path.write_text(yaml.safe_dump(contract, sort_keys=False, allow_unicode=True), encoding="utf-8")
    with (root / "domains" / "logistics_core" / "reference" / "products.csv").open("a", encoding="utf-8") as products:
        products.write(f"{PRODUCT},Compact disc,Music,Albums,CDNOW,14.00,0.100,1994-08-01\n")
    return root


def read_purchases(path: Path) -> Iterator[dict[str, str]]:
    """The rows of the file, gzipped or not."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def write_orders(path: Path, region: str, purchases: list[dict[str, str]]) -> None:
    """The purchases of a region's customers as its producer takes them, in its own dialect.

    Nothing in a line depends on its place in the file: equal purchases are equal records, told apart by their number.
    """
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer: csv.DictWriter[str] | None = None
        for purchase in purchases:
            if REGIONS[int(purchase["customer_id"]) % len(REGIONS)] != region:
                continue
            line = order_line(region, purchase)
            if writer is None:
                writer = csv.DictWriter(stream, fieldnames=list(line))
                writer.writeheader()
            writer.writerow(line)


def order_line(region: str, purchase: dict[str, str]) -> dict[str, str]:
    """One purchase as one order line of `region`, at noon of its day."""
    year, month, day = purchase["date"][:4], purchase["date"][4:6], purchase["date"][6:]
    amount, quantity = Decimal(purchase["amount_usd"]), int(purchase["quantity"])
    noon = f"{year}-{month}-{day}T12:00:00"
    return {
        "order_id": f"CDNOW-{purchase['customer_id']}-{purchase['date']}",
        "line_number": "1",
        "client_no" if region == "south" else "customer_id": f"CDNOW-{purchase['customer_id']}",
        "product_id": PRODUCT,
        "quantity": str(quantity),
        "unit_price": str((amount / quantity).quantize(Decimal("0.01"), ROUND_HALF_UP)),
        "amount": str(amount),
        "currency": "USD",
        "status": "paid",
        "order_time": noon if region == "east" else f"{noon}Z",
    }


def count(purchases: list[dict[str, str]]) -> dict[str, dict[str, object]]:
    """Rows, units and dollars of the file, by month and in `all`."""
    rows: defaultdict[str, int] = defaultdict(int)
    quantity: defaultdict[str, int] = defaultdict(int)
    amount: defaultdict[str, Decimal] = defaultdict(Decimal)
    for purchase in purchases:
        for month in (f"{purchase['date'][:4]}-{purchase['date'][4:6]}", "all"):
            rows[month] += 1
            quantity[month] += int(purchase["quantity"])
            amount[month] += Decimal(purchase["amount_usd"])
    return {m: {"rows": rows[m], "quantity": quantity[m], "amount_usd": amount[m]} for m in rows}


def run_json(environment: dict[str, str], program: Path, *arguments: object) -> object:
    """What a command of the platform prints as JSON; a script runs in this Python. Exits where the command fails."""
    words = [sys.executable, str(program)] if program.suffix == ".py" else [str(program)]
    command = [*words, *(str(argument) for argument in arguments), "--format", "json"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
