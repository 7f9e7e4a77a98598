"""Each difference of a contract is breaking, additive or cosmetic, for producers or for readers."""

from __future__ import annotations

from pathlib import Path

import pytest
from mesh_platform.contract.version import Version, parse_version

from ..changed_mesh import ALPHA, FACT, INTERFACE, Repository, new_repository
from ..contract_edits import (
    EVENT,
    TABLE,
    Edit,
    adds,
    all_of,
    custom,
    drops,
    has_rules,
    listed,
    nothing,
    promises,
    rule,
    sets,
)
from ..small_mesh import add_contract


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


NUMBER = {"logicalType": "integer", "physicalType": "int"}
LONG = {"logicalType": "integer", "physicalType": "long"}
POINTS = {"relationships": [{"to": "core.dim_item.item_id"}]}
HISTORY = all_of(
    adds(name="until", logicalType="timestamp", physicalType="timestamptz", required=True),
    custom("mesh.history", ["sold_at", "until"], TABLE),
)
DROPPED = {"customProperties": [{"property": "mesh.dropped", "value": True}]}
CASES: list[tuple[str, Edit, Edit, str, str]] = [
    ("a column is dropped", nothing, drops("amount"), "breaking", "'amount' is no longer there; SQL"),
    ("an optional one", adds(), drops("note"), "breaking", "'note' is no longer there; SQL that reads it breaks"),
    ("one of the event", adds(EVENT), drops("note", EVENT), "breaking", "events that have it are refused"),
    (
        "a dropped one counts for ids",
        nothing,
        adds(EVENT, **DROPPED),
        "additive",
        "files may have 'note', which counts for ids alone",
    ),
    ("no longer", adds(EVENT, **DROPPED), drops("note", EVENT), "breaking", "files that have 'note' (string)"),
    (
        "a newer oldest version",
        nothing,
        custom("mesh.oldestVersion", "1.0.0"),
        "breaking",
        "events of version 1.0.0 and",
    ),
    (
        "an older one",
        custom("mesh.oldestVersion", "0.2.0"),
        custom("mesh.oldestVersion", "0.1.0"),
        "additive",
        "events of version 0.1.0 and later are taken instead of those of 0.2.0",
    ),
    (
        "freshness leaves out days",
        nothing,
        custom("mesh.calendar", {"workdays": ["mon", "tue"]}),
        "breaking",
        "freshness is measured by other workdays; days do not count that did",
    ),
    (
        "and fewer",
        custom("mesh.calendar", {"holidays": ["2025-12-25"]}),
        custom("mesh.calendar", {"holidays": []}),
        "additive",
        "freshness is measured by other workdays; no day is left out that counted",
    ),
    ("files count for ids", nothing, custom("mesh.fileInIds", True, EVENT), "breaking", "the name of a file counts"),
    (
        "no more",
        custom("mesh.fileInIds", True, EVENT),
        custom("mesh.fileInIds", False, EVENT),
        "breaking",
        "the name of a file no longer counts",
    ),
    ("maintenance stops", nothing, custom("mesh.maintain", False), "cosmetic", "its tables are no longer maintained"),
    ("a column is new", nothing, adds(), "additive", "'note' (string) is new"),
    ("and required", nothing, adds(required=True), "breaking", "rows that are there have no value for it"),
    ("one of the event", nothing, adds(EVENT), "additive", "events may have 'note'"),
    ("and required", nothing, adds(EVENT, required=True), "breaking", "events without it are refused"),
    (
        "a rename",
        nothing,
        sets("amount", name="sum", customProperties=[{"property": "mesh.renamedFrom", "value": ["amount"]}]),
        "breaking",
        "'amount' is now 'sum'; SQL that reads the old name breaks",
    ),
    ("a wider type", adds(**NUMBER), sets("note", **LONG), "additive", "'note' is long instead of int; every value"),
    ("a narrower one", adds(**LONG), sets("note", **NUMBER), "breaking", "'note' is int instead of long; not every"),
    (
        "text instead",
        adds(**LONG),
        sets("note", logicalType="string", physicalType="string"),
        "breaking",
        "not every",
    ),
    ("may be missing", nothing, sets("amount", required=False), "breaking", "readers were promised a value"),
    ("of the event", nothing, sets("amount", EVENT, required=False), "additive", "events may lack 'amount'"),
    ("is required", adds(), sets("note", required=True), "breaking", "rows that are there may lack it"),
    ("of the event", adds(EVENT), sets("note", EVENT, required=True), "breaking", "events without it are refused"),
    (
        "another key",
        nothing,
        sets("item_id", primaryKey=True, primaryKeyPosition=2),
        "breaking",
        "the primary key is",
    ),
    ("no key", nothing, sets("event_id", primaryKey=False), "breaking", "the primary key is nothing instead"),
    (
        "a first key",
        sets("event_id", primaryKey=False),
        sets("event_id", primaryKey=True),
        "additive",
        "there was none",
    ),
    (
        "no key, which was a double",
        sets("amount", physicalType="double", primaryKey=True),
        sets("amount", primaryKey=False),
        "breaking",
        "the primary key is event_id instead of event_id, amount",
    ),
    ("a column pseudonymised", nothing, sets("site_id", classification="pii"), "breaking", "sees a pseudonym"),
    ("or no longer", nothing, sets("buyer", classification="internal"), "additive", "internal instead of pii"),
    ("points nowhere", sets("item_id", **POINTS), sets("item_id", relationships=[]), "breaking", "points to nothing"),
    ("points to a dimension", nothing, sets("item_id", **POINTS), "additive", "points to core.dim_item.item_id"),
    (
        "a bound goes",
        sets("amount", logicalTypeOptions={"minimum": 0}),
        sets("amount", logicalTypeOptions={}),
        "breaking",
        "'amount' is at least anything instead of 0; readers were promised it",
    ),
    ("a bound comes", nothing, sets("amount", logicalTypeOptions={"minimum": 0}), "additive", "at least 0"),
    (
        "a bound of the event comes",
        nothing,
        sets("amount", EVENT, logicalTypeOptions={"maximum": 9}),
        "breaking",
        "'amount' is at most 9 instead of anything; events that break it are refused",
    ),
    (
        "a bound of the event goes",
        sets("amount", EVENT, logicalTypeOptions={"maximum": 9}),
        sets("amount", EVENT, logicalTypeOptions={"maximum": 10}),
        "additive",
        "at most 10 instead of 9",
    ),
    (
        "a pattern changes",
        sets("item_id", logicalTypeOptions={"pattern": "^i"}),
        sets("item_id", logicalTypeOptions={"pattern": "^j"}),
        "breaking",
        "'item_id' need no longer match ^i",
    ),
    (
        "a value more",
        sets("site_id", **listed("a")),
        sets("site_id", **listed("a", "b")),
        "breaking",
        "may be b; readers",
    ),
    ("any value", sets("site_id", **listed("a")), sets("site_id", quality=[]), "breaking", "may be any other value"),
    (
        "a value less",
        sets("site_id", **listed("a", "b")),
        sets("site_id", **listed("a")),
        "additive",
        "no longer be b",
    ),
    (
        "only a warning",
        sets("site_id", **listed("a")),
        sets("site_id", **listed("a", on_failure="warn")),
        "breaking",
        "'site_id' may be any other value; readers were promised it",
    ),
    (
        "held back instead",
        sets("site_id", **listed("a")),
        sets("site_id", **listed("a", on_failure="hold")),
        "cosmetic",
        "words that promise nothing differ",
    ),
    (
        "a value more in the event",
        sets("buyer", EVENT, quality=[listed("a")["quality"][0] | {"customProperties": []}]),
        sets("buyer", EVENT, quality=[]),
        "additive",
        "'buyer' may be any other value",
    ),
    (
        "a value less in the event",
        nothing,
        sets("buyer", EVENT, quality=[listed("a")["quality"][0] | {"customProperties": []}]),
        "breaking",
        "'buyer' must be one of a; events that break it are refused",
    ),
    ("a rule goes", has_rules(rule("block")), has_rules(), "breaking", "promised that no row breaks it"),
    ("a rule only warns", has_rules(rule("block")), has_rules(rule("warn")), "breaking", "are published"),
    (
        "a rule asks for less",
        has_rules(rule("block", name="n")),
        has_rules(rule("block", 9, name="n")),
        "breaking",
        "the rule 'n' asks for something else now",
    ),
    ("a rule holds back", has_rules(rule("block")), has_rules(rule("hold")), "additive", "has hold"),
    (
        "a rule is called otherwise",
        has_rules(rule("block", name="a")),
        has_rules(rule("block", name="b")),
        "cosmetic",
        "",
    ),
    ("a warning goes", has_rules(rule("warn")), has_rules(), "additive", "is no longer there"),
    ("a rule is new", nothing, has_rules(rule("block")), "additive", "is new (block)"),
    ("history is kept", nothing, HISTORY, "breaking", "history is by sold_at and until, it was not kept"),
    (
        "other partitions",
        nothing,
        custom("mesh.partition", ["day(sold_at)"], TABLE),
        "additive",
        "writes all rows anew",
    ),
    ("of the landing table", nothing, custom("mesh.partition", ["month(event_time)"], EVENT), "breaking", "landing"),
    ("less fresh", nothing, lambda d: d["slaProperties"][0].update(value=48), "breaking", "is 48 h instead of 24 h"),
    ("more fresh", nothing, lambda d: d["slaProperties"][0].update(value=5), "additive", "is 5 h instead of 24 h"),
    ("latency is promised", nothing, promises("latency", 8, "h"), "additive", "latency is 8 h instead of not"),
    (
        "accuracy is promised",
        nothing,
        promises("accuracy", 0.9),
        "additive",
        "accuracy is 0.9 instead of not promised",
    ),
    (
        "less accurate",
        promises("accuracy", 0.8),
        promises("accuracy", 0.9),
        "breaking",
        "accuracy is 0.9 instead of 0.8",
    ),
    (
        "accuracy is promised no more",
        promises("accuracy", 0.8),
        lambda d: d["slaProperties"].pop(),
        "breaking",
        "accuracy is not promised instead of 0.8",
    ),
    ("kept for less", nothing, promises("retention", 1, "y"), "breaking", "retention is 365 d instead of 3650 d"),
    ("kept for longer", promises("retention", 1, "y"), promises("retention", 2, "y"), "additive", "retention"),
    (
        "less time travel",
        nothing,
        custom("mesh.timeTravel", "1d"),
        "breaking",
        "time travel is 24 h instead of 168 h",
    ),
    ("a role goes", nothing, lambda d: d.update(roles=[]), "breaking", "it sees pseudonyms from now on"),
    ("a role comes", nothing, lambda d: d["roles"].append({"role": "x"}), "additive", "the role 'x' may read"),
    (
        "a lower level",
        custom("mesh.level", "gold"),
        custom("mesh.level", "silver"),
        "breaking",
        "claims level silver",
    ),
    ("a higher level", nothing, custom("mesh.level", "silver"), "additive", "claims level silver instead of bronze"),
    ("more demands", nothing, custom("mesh.demands", "silver"), "additive", "demands level silver"),
    ("out of the union", nothing, custom("mesh.implements", None), "breaking", "who reads the union misses them"),
    (
        "into a union",
        custom("mesh.implements", None),
        custom("mesh.implements", "sale.v1"),
        "additive",
        "now in sale.v1",
    ),
    ("retired", nothing, lambda d: d.update(status="retired"), "breaking", "no longer published"),
    ("deprecated", nothing, lambda d: d.update(status="deprecated"), "cosmetic", "words that promise nothing"),
    (
        "another event",
        nothing,
        lambda d: d["schema"][0].update(name="sale"),
        "breaking",
        "the event is called 'sale'",
    ),
    ("no event", nothing, lambda d: d["schema"].pop(0), "breaking", "the event 'sale_made' is no longer there"),
    ("words", nothing, sets("amount", description="B."), "cosmetic", "'amount' is described in other words"),
    ("the order", nothing, lambda d: d["schema"][TABLE]["properties"].reverse(), "cosmetic", "promise nothing"),
    ("tags", nothing, lambda d: d.update(tags=["x"]), "cosmetic", "words that promise nothing differ"),
]


@pytest.mark.parametrize(("before", "after", "kind", "reason"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_difference_is_of_a_kind_and_says_why(
    repository: Repository, before: Edit, after: Edit, kind: str, reason: str
):
    repository.edit(ALPHA, before)
    repository.commit()
    repository.edit(ALPHA, after)
    assessed = repository.assessed("main")["alpha.sales_alpha"]
    assert assessed.kind == kind, assessed.differences
    assert any(reason in each.reason for each in assessed.differences if each.kind == kind), assessed.differences
    # Undone, there is no change.
    repository.git("checkout", "-q", ".")
    assert repository.assessed("main") == {}


def test_an_interface_may_ask_for_a_column_that_all_have_but_not_let_go_of_one(repository: Repository):
    repository.edit(INTERFACE, adds(required=True))
    assert repository.assessed()["core.sale_v1"].kind == "additive"
    repository.edit(INTERFACE, drops("amount"))
    assert repository.assessed()["core.sale_v1"].kind == "breaking"


def test_what_breaks_sql_of_others_is_breaking_whatever_it_is_by_itself(repository: Repository):
    repository.edit(FACT, sets("amount", physicalType="decimal(20,2)"))
    repository.place.write(
        "core/models/fact_sales.sql", "select * replace (amount::decimal(20,2) as amount) from core.sale_v1"
    )
    (found,) = [each for each in repository.assessed()["core.fact_sales"].differences if each.kind == "breaking"]
    assert found.reason == "domains/insight/models/report.sql cannot be run with it and could before"


def test_sql_that_could_not_be_run_before_makes_nothing_breaking(repository: Repository):
    repository.place.write("insight/models/report.sql", "select 1 as nonsense from core.fact_sales")
    repository.edit(FACT, adds())
    assert repository.assessed()["core.fact_sales"].kind == "additive"


def test_a_key_that_tables_cannot_note_is_no_change(repository: Repository):
    repository.edit(ALPHA, sets("amount", physicalType="double", primaryKey=True))
    repository.commit()
    repository.edit(ALPHA, adds())
    assert repository.assessed("main")["alpha.sales_alpha"].kind == "additive"


def test_two_changes_that_break_sql_only_together_are_both_breaking(repository: Repository):
    columns = {"item_id": "string key", "label": "string required", "buyer": "string required pii"}
    add_contract(repository.place, "insight", "wide", {"wide": columns | {"sales": "long", "total": "decimal(18,2)"}})
    repository.place.write("insight/models/wide.sql", "select * from core.items, core.dim_buyer\n")
    repository.commit()
    assert repository.problems(rule="sql") == []
    for name in ("items", "dim_buyer"):
        repository.edit(f"domains/core/contracts/{name}.odcs.yaml", adds())
    kinds = {name: each.kind for name, each in repository.assessed().items()}
    assert kinds == {"core.items": "breaking", "core.dim_buyer": "breaking"}
    repository.git("checkout", "-q", "domains/core/contracts/items.odcs.yaml")
    assert {name: each.kind for name, each in repository.assessed().items()} == {"core.dim_buyer": "breaking"}


@pytest.mark.parametrize(
    ("before", "kind", "after"),
    [
        ("1.2.3", "breaking", "2.0.0"),
        ("1.2.3", "additive", "1.3.0"),
        ("1.2.3", "cosmetic", "1.2.4"),
        ("1.2.3", "", "1.2.3"),
        ("0.2.3", "breaking", "0.3.0"),
        ("0.2.3", "additive", "0.3.0"),
        ("0.2.3", "cosmetic", "0.2.4"),
    ],
)
def test_the_version_follows_from_the_kind(before: str, kind: str, after: str):
    version = parse_version(before)
    assert version is not None
    assert str(version.next(kind)) == after


def test_what_is_no_version_is_none():
    texts = ["1", "1.0", "v1.0.0", "1.0.0-rc1", "1.0.0.0", "01.0.0", "1.0.0\n", "", "1.-1.0", "9" * 5000 + ".0.0"]
    assert [parse_version(text) for text in texts] == [None] * len(texts)
    assert parse_version("10.20.30") == Version(10, 20, 30)
