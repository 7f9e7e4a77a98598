"""Dashboards that people open: drawn in a browser, for the roles that get them, twenty at once."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles
from threading import Event, Thread

import pytest
from mesh_platform.dashboards.superset_assets import (
    dashboard_uuid,
)
from mesh_platform.errors import MeshError
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Mesh
from superset_server import Superset, chart_data, look

pytestmark = pytest.mark.superset
NORTH = "WH-NORTH"


@pytest.mark.parametrize("user", ["admin", "analyst", NORTH, "steward"])
def test_every_dashboard_is_drawn_without_an_error(
    superset: Superset, dashboards: list[Dashboard], tmp_path: Path, user: str
) -> None:
    shown = [each for each in dashboards if user == "admin" or each.is_for(user)]
    complaints = look(superset.url, user, superset.passwords[user], shown, tmp_path)
    assert complaints == {each.name: [] for each in shown}


def test_a_role_gets_the_dashboards_that_are_for_it(superset: Superset, dashboards: list[Dashboard]) -> None:
    (health,) = [each for each in dashboards if each.name == "product_health"]
    assert health.file.roles == ("steward",)
    for user in superset.passwords:
        with superset.session(user) as session:
            wanted = {dashboard_uuid(each) for each in dashboards if user == "admin" or each.is_for(user)}
            assert session.numbers("dashboard").keys() == wanted, user
            for each in dashboards:
                if dashboard_uuid(each) not in wanted:
                    with pytest.raises(MeshError, match=r"40[34]"):
                        session.send("GET", f"dashboard/{each.slug}")
    with superset.session("admin") as admin:
        number = admin.numbers("dashboard")[dashboard_uuid(health)]
        admin.set_dashboard_roles(number, [admin.roles()["analyst"]])
    names = [each["name"] for each in superset.mesh("dashboards", "plan", check=1)]
    assert names == [health.identifier]
    superset.mesh("dashboards", "apply")
    assert superset.mesh("dashboards", "plan") == []


def load(superset: Superset, dashboard: Dashboard, numbers: dict[str, int]) -> float:
    """Seconds to log in and load all charts of a dashboard, as one page does."""
    began = time.monotonic()
    with superset.session("analyst") as session:
        for name in dashboard.charts:
            chart_data(session, numbers, dashboard, name)
    return time.monotonic() - began


def test_twenty_loads_at_once_meet_no_error_while_files_are_replaced(superset: Superset, mesh: Mesh) -> None:
    """Rounds of twenty loads on files at rest, and while they are replaced, in turn."""
    dashboard = mesh.dashboards["logistics_core.orders_and_returns"]
    with superset.session("admin") as admin:
        numbers = admin.numbers("dataset")
    took: dict[bool, list[float]] = {False: [], True: []}
    with ThreadPoolExecutor(20) as pool:
        for replaced in (False, True) * 2:
            done = Event()

            def replace_files(done: Event = done) -> None:
                while not done.is_set():
                    superset.state.mesh("dashboards", "data")

            writer = Thread(target=replace_files)
            if replaced:
                writer.start()
            took[replaced] += pool.map(lambda _: load(superset, dashboard, numbers), range(20))
            done.set()
            if replaced:
                writer.join()
    at_rest, under_fire = (quantiles(times, n=20)[-1] for times in took.values())
    # How long it takes is measured here and judged by nobody: other tests may run beside it.
    print(f"p95 of {len(took[True])} loads, twenty at once: {at_rest:.1f} s at rest, {under_fire:.1f} s while files")
    print(f"are replaced ({under_fire / at_rest:.2f} times as long); load of the machine {os.getloadavg()[0]:.1f}")
