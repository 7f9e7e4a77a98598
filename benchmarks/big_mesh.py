"""A mesh of any size with the true lineage of each column: products of reference data, and models over them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mesh_platform.metadata.columns import Edge
from mesh_platform.sql.bound_plan import How

PRODUCTS = 3_000
DOMAINS = 50
# Every other product has one column more, so that 3,000 products have 34,500.
COLUMNS = 11
# One product in ten is reference data; the first ones are, so that models have something to read.
_REFERENCE = 10
_FIRST = 5


@dataclass(frozen=True)
class Made:
    """One product: its columns, its SQL if it has any, and the true edges that end in it."""

    name: str
    columns: tuple[str, ...]
    sql: str | None
    edges: tuple[Edge, ...]


Shape = Callable[[str, Made, Made], Made]


def write_big_mesh(root: Path, products: int = PRODUCTS, seed: int = 1) -> set[Edge]:
    """Write a mesh of so many products below `root`, and return the true edges between their columns."""
    made = [*_products(products, seed)]
    domains = sorted({product.name.partition(".")[0] for product in made})
    for name in domains:
        folder = root / "domains" / name
        for part in ("contracts", "models", "reference"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "domain.yaml").write_text(f"name: {name}\nkind: aggregate\ndescription: Products of a benchmark.\n")
        owners = f"team: Team {name}\nsteward: Steward of {name}\ncontact: {name}@acme.example\non_call: '#{name}'\n"
        (folder / "owners.yaml").write_text(owners)
    for product in made:
        _write(root, product)
    return {edge for product in made for edge in product.edges}


def _products(count: int, seed: int) -> Iterator[Made]:
    draw = random.Random(seed)
    made: list[Made] = []
    for number in range(count):
        name = f"d{number * DOMAINS // count:02}.p{number:04}"
        columns = tuple(f"c{place}" for place in range(COLUMNS - 1 + number % 2))
        if number < _FIRST or number % _REFERENCE == 0:
            product = Made(name, ("k", *columns), None, ())
        else:
            # Mostly recent products, so that there are long paths as well as wide ones.
            one, other = (made[max(0, number - 1 - int(draw.expovariate(0.02)))] for _ in range(2))
            product = draw.choice(_SHAPES)(name, one, other)
        made.append(product)
        yield product


def _write(root: Path, product: Made) -> None:
    domain, _, table = product.name.partition(".")
    folder = root / "domains" / domain
    fields = "".join(
        f"      - name: {column}\n        logicalType: {'string' if column == 'k' else 'integer'}\n"
        f"        physicalType: {'string' if column == 'k' else 'long'}\n"
        + ("        required: true\n        primaryKey: true\n" if column == "k" else "")
        + f"        description: Column {column} of product {table}.\n"
        for column in product.columns
    )
    (folder / "contracts" / f"{table}.odcs.yaml").write_text(
        f"apiVersion: v3.1.0\nkind: DataContract\nid: urn:bench:{domain}:{table}\nname: {table}\nversion: 1.0.0\n"
        f"status: active\ndomain: {domain}\ndescription:\n  purpose: Product {table} of a benchmark.\n"
        f"schema:\n  - name: {table}\n    physicalType: table\n    description: Rows of {table}.\n"
        f"    properties:\n{fields}slaProperties:\n  - {{property: retention, value: 1, unit: y}}\n"
    )
    if product.sql is None:
        (folder / "reference" / f"{table}.csv").write_text(f"{','.join(product.columns)}\n")
    else:
        (folder / "models" / f"{table}.sql").write_text(f"{product.sql}\n")


def _made(
    name: str,
    sql: str,
    values: dict[str, Sequence[tuple[Made, str, How]]],
    rows: Sequence[tuple[Made, str, How]] = (),
) -> Made:
    edges = [
        Edge(source.name, column, name, target, how)
        for target, found in values.items()
        for source, column, how in found
    ]
    edges += [Edge(source.name, column, name, None, how) for source, column, how in rows]
    return Made(name, tuple(values), sql, tuple(edges))


def _renamed(name: str, one: Made, other: Made) -> Made:
    moved = dict(zip(one.columns[1:], [*one.columns[2:], one.columns[1]], strict=True))
    selected = ", ".join(f"{source} as {target}" for target, source in moved.items())
    values = {target: [(one, source, "copied")] for target, source in {"k": "k", **moved}.items()}
    return _made(name, f"select k, {selected} from {one.name}", values)


def _star(name: str, one: Made, other: Made) -> Made:
    sql = (
        f"with s as (select * from {one.name})\nselect * replace (c0 + c1 as c1, cast(c2 * 2 as bigint) as c2) from s"
    )
    values = {column: [(one, column, "copied")] for column in one.columns}
    values |= {"c1": [(one, "c0", "computed"), (one, "c1", "computed")], "c2": [(one, "c2", "computed")]}
    return _made(name, sql, values)


def _joined(name: str, one: Made, other: Made) -> Made:
    left, right = one.columns[:6], other.columns[6:]
    selected = ", ".join([*(f"a.{column}" for column in left), *(f"b.{column}" for column in right)])
    sql = f"select {selected}\nfrom {one.name} as a\ninner join {other.name} as b on b.k = a.k"
    values = {column: [(one, column, "copied")] for column in left} | {
        column: [(other, column, "copied")] for column in right
    }
    return _made(name, sql, values, [(one, "k", "joined"), (other, "k", "joined")])


def _coalesced(name: str, one: Made, other: Made) -> Made:
    shared = [column for column in one.columns[1:] if column in other.columns]
    selected = ", ".join(f"coalesce(a.{column}, b.{column}) as {column}" for column in shared)
    sql = f"select a.k, {selected}\nfrom {one.name} as a\nleft join {other.name} as b using (k)"
    values = {"k": [(one, "k", "copied")]}
    values |= {column: [(one, column, "computed"), (other, column, "computed")] for column in shared}
    return _made(name, sql, values, [(one, "k", "joined"), (other, "k", "joined")])


def _windowed(name: str, one: Made, other: Made) -> Made:
    kept = ", ".join(one.columns[2:])
    total = "cast(sum(c0) over w as bigint) as c0"
    sql = f"select k, {total}, {kept}\nfrom {one.name}\nwindow w as (partition by c2 order by c1)"
    values = {column: [(one, column, "copied")] for column in one.columns}
    values["c0"] = [(one, column, "computed") for column in ("c0", "c1", "c2")]
    return _made(name, sql, values)


def _united(name: str, one: Made, other: Made) -> Made:
    shared = [column for column in one.columns if column in other.columns]
    turned = ", ".join(reversed(shared))
    sql = f"select {', '.join(shared)} from {one.name}\nunion all by name\nselect {turned} from {other.name}"
    return _made(name, sql, {column: [(one, column, "copied"), (other, column, "copied")] for column in shared})


def _summed(name: str, one: Made, other: Made) -> Made:
    sums = ", ".join(f"cast(sum({column}) as bigint) as {column}" for column in one.columns[1:])
    values = {column: [(one, column, "copied" if column == "k" else "computed")] for column in one.columns}
    return _made(name, f"select k, {sums}\nfrom {one.name}\ngroup by k", values, [(one, "k", "grouped")])


def _filtered(name: str, one: Made, other: Made) -> Made:
    sql = f"select {', '.join(one.columns)}\nfrom {one.name}\nwhere c3 > 0 and k in (select k from {other.name})"
    rows = [(one, "c3", "filtered"), (one, "k", "filtered"), (other, "k", "filtered")]
    return _made(name, sql, {column: [(one, column, "copied")] for column in one.columns}, rows)


_SHAPES: tuple[Shape, ...] = (_renamed, _star, _joined, _coalesced, _windowed, _united, _summed, _filtered)
