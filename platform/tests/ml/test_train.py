"""A training is recorded whole, is published only if it is better, and can be made again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.expiry import expire
from mesh_platform.lake.maintain import maintain
from mesh_platform.lake.tags import tag_snapshot
from mesh_platform.lake.trainings import TRAININGS, Training, in_use, read_model, read_trainings
from mesh_platform.ml.train import Reproduced, reproduce, train
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session

from ..small_mesh import Place
from .guessing import DAILY, NOW, PRODUCT, guessing_mesh, models, noon, sales, write_learner


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return guessing_mesh(tmp_path)


def trained(place: Place, now: datetime = NOW) -> Training:
    return train(place.mesh, models(place), place.catalog, PRODUCT, now)


def made_again(place: Place, name: str) -> Reproduced:
    return reproduce(place.mesh, models(place), place.catalog, name)


def test_a_training_records_what_it_was_made_of_and_keeps_it(place: Place) -> None:
    made = trained(place)
    table = place.catalog.load_table(DAILY)
    head = table.current_snapshot()
    assert head is not None
    assert (made.name, made.inputs, made.published) == ("t1", {DAILY: head.snapshot_id}, True)
    # Ten days are there, and the last two of them are held out.
    assert (made.known_until, made.judged_until) == (date(2025, 10, 9), date(2025, 10, 11))
    assert (made.parameters, made.threads, made.code) == ({"times": 1.0}, 1, "unknown")
    assert {"python", "pyarrow"} <= made.libraries.keys()
    assert made.loss < 2 < 9 < made.loss_of_baseline
    assert table.refs()["t1"].snapshot_id == head.snapshot_id
    assert sha256(read_model(place.catalog, made)).hexdigest() == made.file
    assert read_trainings(place.catalog) == [made]
    with open_session(place.mesh, place.catalog) as session:
        (row,) = run_query(session, f"select training, product, published from {TRAININGS}").to_pylist()
    assert row == {"training": "t1", "product": PRODUCT, "published": True}


def test_a_model_that_is_worse_than_the_baseline_or_no_better_than_the_one_in_use_is_held_back(place: Place) -> None:
    write_learner(place, times=5)
    bad = trained(place)
    assert not bad.published
    assert bad.reason == f"held back: it loses {bad.loss:.4f}, and nothing {bad.loss_of_baseline:.4f}"
    assert in_use(read_trainings(place.catalog, PRODUCT)) is None
    write_learner(place, times=1)
    good = trained(place)
    again = trained(place)
    write_learner(place, times=1.2)
    worse = trained(place)
    assert [each.published for each in (good, again, worse)] == [True, False, False]
    assert (good.loss_in_use, again.loss_in_use, worse.loss_in_use) == (None, good.loss, good.loss)
    assert worse.loss < worse.loss_of_baseline
    assert again.reason.endswith(f"and {good.name}, which is in use, {good.loss:.4f}")
    used = in_use(read_trainings(place.catalog, PRODUCT))
    assert used is not None
    assert used.name == good.name == "t2"


def test_the_same_model_comes_out_after_many_commits_an_expiry_and_a_maintenance(place: Place) -> None:
    made = trained(place)
    for day in range(10, 12):
        place.land("alpha", sales(1, day))
        place.build("alpha.sales_alpha", "core.fact_sales", DAILY)
    rows = place.catalog.load_table(DAILY).scan().to_arrow()
    for day in range(12, 112):
        of_day = rows.slice(0, 1).set_column(1, rows.schema.field("day"), pa.array([noon(day)], rows["day"].type))
        append_rows(place.catalog.load_table(DAILY), of_day)

    def expire_all() -> int:
        later = datetime.now(UTC) + timedelta(days=400)
        return expire(lambda: place.catalog.load_table(DAILY), timedelta(hours=1), lambda: (), later)[0]

    assert expire_all() >= 80
    maintain(place.mesh, place.catalog, orphan_age=timedelta(0))
    left = set(place.snapshots(DAILY))
    assert {*made.inputs.values()} < left
    assert len(left) < 20
    assert made_again(place, "t1").equal
    assert read_trainings(place.catalog) == [made]
    # It is of the days of then, not of all that came since.
    assert trained(place, noon(112)).file != made.file


def test_a_model_knows_nothing_of_the_days_that_it_is_judged_on(place: Place) -> None:
    made = trained(place)
    # Ten times as much on the ninth and tenth day, by a second sale on each.
    place.land("alpha", [replace(sale, number=100 + sale.number, amount=Decimal(100)) for sale in sales(2, 8)])
    place.build("alpha.sales_alpha", "core.fact_sales", DAILY)
    later = trained(place)
    assert (later.file, later.known_until) == (made.file, made.known_until)
    assert later.loss > 50 > made.loss
    place.land("alpha", [replace(sale, number=200 + sale.number, amount=Decimal(100)) for sale in sales(1, 7)])
    place.build("alpha.sales_alpha", "core.fact_sales", DAILY)
    assert trained(place).file != made.file


def test_a_model_in_use_whose_code_is_gone_does_not_hold_another_one_back(place: Place) -> None:
    trained(place)
    path = place.root / "domains/fore/learners/learn_guess.py"
    path.write_text(path.read_text().replace("Means", "Averages"))
    clock = {"MESH_CLOCK": NOW.isoformat()}
    failed = place.state.mesh("ml", "predict", PRODUCT, check=2, **clock)
    assert "if a model's file asks for it, train again." in failed.err
    made = trained(place)
    assert made.published
    assert made.loss_in_use is None
    assert made.reason.endswith(", and t1 cannot be loaded")


def test_another_model_says_what_was_not_as_at_that_time(place: Place) -> None:
    made = trained(place)
    script = place.root / "domains/fore/learners/learn_guess.py"
    script.write_text(script.read_text().replace("/ len(all)", "/ (len(all) + 1)"))
    found = made_again(place, "t1")
    assert not found.equal
    assert found.recorded == made.file
    done = place.state.mesh("ml", "reproduce", "t1", check=1)
    assert "t1: another model came out" in done.err
    assert "and 0.0001 is allowed" in done.err
    with pytest.raises(UsageError, match=r"t7: no such training. The newest are t1; 'mesh ml list' lists them."):
        made_again(place, "t7")


@pytest.mark.parametrize(("share", "within"), [(1e-7, True), (1e-2, False)])
def test_with_other_threads_a_model_may_differ_by_the_tolerance_and_no_more(
    place: Place, share: float, within: bool
) -> None:
    script = place.root / "domains/fore/learners/learn_guess.py"
    threads = "int(__import__('os').environ['OMP_NUM_THREADS'])"
    script.write_text(script.read_text().replace("/ len(all)", f"/ len(all) * (1 + {share} * {threads})"))
    trained(place)
    assert made_again(place, "t1").equal
    found = reproduce(place.mesh, models(place), place.catalog, "t1", threads=2)
    assert (found.equal, found.within) == (False, within)
    assert found.off is not None
    assert share / 10 < found.off < share * 10
    assert found.differs == ("2 threads now, and 1 then",)


def test_without_its_file_a_training_can_be_made_again(place: Place) -> None:
    made = trained(place)
    next(place.root.rglob(made.file)).unlink()
    assert made_again(place, "t1").equal


def test_a_model_file_that_was_changed_or_lost_is_not_used(place: Place) -> None:
    made = trained(place)
    (file,) = place.root.rglob(made.file)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(AttentionError, match="not the model that t1 recorded"):
        read_model(place.catalog, made)
    file.unlink()
    with pytest.raises(AttentionError, match="the model of t1 is gone"):
        read_model(place.catalog, made)


def tags(place: Place) -> set[str]:
    return {*place.catalog.load_table(DAILY).refs()} - {"main"}


def test_a_training_that_was_killed_before_its_row_leaves_no_tag_for_long(place: Place) -> None:
    made = trained(place)
    # As after a kill: tagged, and no row.
    tag_snapshot(place.catalog.load_table(DAILY), made.inputs[DAILY], "t2")
    maintain(place.mesh, place.catalog, [DAILY])
    # It might be of a training under way.
    assert tags(place) == {"t1", "t2"}
    assert trained(place).name == "t3"
    maintain(place.mesh, place.catalog, [DAILY])
    assert tags(place) == {"t1", "t3"}


def test_maintenance_removes_tags_and_files_of_models_that_were_not_in_use_for_long(place: Place) -> None:
    write_learner(place, times=1.5)
    old = trained(place)
    write_learner(place, times=5)
    held_back = trained(place)
    write_learner(place, times=1)
    # t1 was in use until now, so it stays for another while.
    used = trained(place, NOW + timedelta(days=80))
    place.build(PRODUCT)
    folder = next(place.root.rglob(used.file)).parent
    (folder / "of_a_kill").write_bytes(b"x")

    def left(now: datetime) -> tuple[set[str], set[str]]:
        again = trained(place, now)
        assert (again.published, again.file) == (False, used.file)
        planned = maintain(place.mesh, place.catalog, [PRODUCT], dry_run=True, orphan_age=timedelta(0))
        done = maintain(place.mesh, place.catalog, [DAILY, PRODUCT], orphan_age=timedelta(0))
        assert planned[0].orphans_removed == done[-1].orphans_removed
        return tags(place) & {"t1", "t2", "t3"}, {file.name for file in folder.iterdir()}

    assert left(NOW + timedelta(days=91)) == ({"t1", "t3"}, {old.file, used.file})
    assert left(NOW + timedelta(days=400)) == ({"t3"}, {used.file})
    assert held_back.file not in {old.file, used.file}
    assert [each.name for each in read_trainings(place.catalog)] == ["t5", "t4", "t3", "t2", "t1"]
    with pytest.raises(AttentionError, match="the model of t1 is gone"):
        read_model(place.catalog, old)
    assert read_model(place.catalog, used)


def test_too_short_a_history_and_tables_that_are_not_built_are_named(place: Place) -> None:
    with pytest.raises(
        AttentionError, match=r"fore.daily have no days before the last 2, which a model is judged on"
    ):
        trained(place, noon(1))
    place.catalog.drop_table(DAILY)
    with pytest.raises(UsageError, match=r"fore.daily: not built yet. 'mesh build fore' builds it."):
        trained(place)
