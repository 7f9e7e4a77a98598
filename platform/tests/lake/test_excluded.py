"""`mesh.maintain: false` in a contract excludes its own tables from all maintenance, and no others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from mesh_platform.cli.maintenance import _show
from mesh_platform.iceberg import expiry
from mesh_platform.lake.maintain import Maintained, maintain

from ..maintained import on_disk
from ..small_mesh import Place, Sale, small_mesh

SALES = "alpha.sales_alpha"
PATH = "domains/alpha/contracts/sales_alpha.odcs.yaml"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A mesh in which each table has something to maintain, and whose `sales_alpha` is excluded."""
    monkeypatch.setattr(expiry, "NEWEST", 1)
    monkeypatch.setattr(expiry, "_marks", lambda now, lifetime: [])
    place = small_mesh(tmp_path)
    for number in range(2):
        place.land("alpha", [Sale(number)])
        place.land("beta", [Sale(number)])
        place.build(SALES, "beta.sales_beta")
    set_switch(place, False)
    return place


def set_switch(place: Place, maintained: bool) -> None:
    path = place.root / PATH
    contract = yaml.safe_load(path.read_text())
    custom = [item for item in contract["customProperties"] if item["property"] != "mesh.maintain"]
    contract["customProperties"] = [*custom, {"property": "mesh.maintain", "value": maintained}]
    path.write_text(yaml.safe_dump(contract, sort_keys=False))


def run_maintenance(place: Place, *names: str, dry_run: bool = False) -> dict[str, Maintained]:
    return {each.table: each for each in maintain(place.mesh, place.catalog, names, dry_run, timedelta(0))}


def test_its_tables_and_the_private_ones_stay_as_they_are_named_or_not(place: Place) -> None:
    own = [SALES, f"{SALES}__raw"]
    tables = [place.catalog.load_table(name) for name in own]
    before = [(table.metadata_location, sorted(on_disk(table))) for table in tables]
    done = run_maintenance(place)
    for each in (
        run_maintenance(place, *own),
        run_maintenance(place, "alpha"),
        run_maintenance(place, dry_run=True),
        done,
    ):
        assert {each[name].skipped for name in own} == {f"mesh.maintain is false in {PATH}"}
        assert {each[name].excluded for name in own} == {True}
        assert {(each[name].compacted, each[name].expired, each[name].orphans_removed) for name in own} == {(0, 0, 0)}
    assert done["beta.sales_beta"].compacted == 2
    assert done["beta.sales_beta__raw"].expired > 0
    tables = [place.catalog.load_table(name) for name in own]
    assert [(table.metadata_location, sorted(on_disk(table))) for table in tables] == before


def test_maintained_again_it_is_as_if_nothing_was(place: Place) -> None:
    run_maintenance(place)
    set_switch(place, True)
    assert run_maintenance(place)[SALES].compacted == 2
    assert run_maintenance(place)[SALES].skipped is None


def test_people_see_what_was_skipped_and_why(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [vars(each) for each in run_maintenance(place).values()]
    _show(rows, dry_run=False)
    out = capsys.readouterr().out
    assert f"mesh.maintain is false in {PATH}" in out
    assert f"{SALES}__raw" in out


def test_the_maintain_dag_has_no_task_for_it(place: Place) -> None:
    pipelines = pytest.importorskip("mesh_platform.dags.pipelines")
    mesh = place.mesh
    made = pipelines.Pipelines(mesh, {}, mesh.domains["alpha"])
    assert made.products["maintain"] == []
    assert [contract.identifier for contract in made.products["build"]] == [SALES]
    assert len(pipelines.Pipelines(mesh, {}, mesh.domains["core"]).products["maintain"]) == 4
