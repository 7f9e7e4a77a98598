"""Airflow's UI as people see it: an address, a user and a password arrive; pictures of what it shows leave.

python -m airflow_ui URL USER PASSWORD FOLDER    with PYTHONPATH=tests; needs Debian's chromium and chromium-driver
"""

from __future__ import annotations

import json
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mesh_platform.broker import queue_of
from mesh_platform.lake.tables import landing_name
from mesh_platform.mesh.mesh import Mesh, load_mesh
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from conftest import ROOT

BROWSER, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
DOMAIN = "logistics_core"
DAG = f"{DOMAIN}__build"
PRODUCT, FACT = "east_warehouse.orders_east", f"{DOMAIN}.fact_orders"
WIDTH, HEIGHT = 1400, 900
PATIENCE = 60.0
# What the UI remembers of its user: graphs instead of grids, with most of the width for them.
_HABITS = {
    "dags_list_display": "table",
    "default_dag_view": "graph",
    "react-resizable-panels:graph-ltr": {"details-panel,main-panel": {"expandToSizes": {}, "layout": [78, 22]}},
}


def look(url: str, user: str, password: str, folder: Path) -> list[Path]:
    """Log in; look at the list of DAGs, a DAG's docs, a run's graph and a chain of assets; the pictures, in `folder`.

    Raises AssertionError with what a page lacks after `PATIENCE` seconds.
    """
    mesh = load_mesh(ROOT)
    folder.mkdir(parents=True, exist_ok=True)
    with _browser() as chrome:
        ui = _Ui(chrome, url.rstrip("/"))
        ui.log_in(user, password)
        pages = {"airflow-dags.png": _dags, "airflow-graph.png": _graph, "airflow-assets.png": _assets}
        return [page(ui, mesh, folder / name) for name, page in pages.items()]


def _dags(ui: _Ui, mesh: Mesh, picture: Path) -> Path:
    """Those that messages and tables wake, two for each domain, on one screen."""
    ui.screen(1.2)
    ui.open("/dags?tags=ingest&tags=build&tags_match_mode=any")
    ui.expect("the list of DAGs", [f"{name}__{kind}" for name in mesh.domains for kind in ("ingest", "build")])
    return ui.save(picture)


def _graph(ui: _Ui, mesh: Mesh, picture: Path) -> Path:
    """The run that did most, as a graph; and before that what the DAG says of itself."""
    ui.screen()
    tasks = [contract.table.name for contract in mesh.domain(DOMAIN).contracts.values()]
    owners = mesh.domain(DOMAIN).owners
    ui.open(f"/dags/{DAG}")
    ui.expect(f"the page of {DAG}", [DAG, owners.team, *tasks])
    ui.click("button[aria-label='Dag Docs']")
    ui.expect(f"the docs of {DAG}", [owners.steward, owners.contact, FACT.partition(".")[2]], "[role=dialog]")

    done = ui.get(f"/api/v2/dags/{DAG}/dagRuns/~/taskInstances?state=success&limit=1000")["task_instances"]
    runs = [each["dag_run_id"] for each in done]
    assert runs, f"no task of {DAG} has succeeded yet"
    ui.open(f"/dags/{DAG}/runs/{quote(max(runs, key=runs.count))}")
    ui.expect("the graph of a run", [*tasks, "success"], ".react-flow")
    return ui.save(picture)


def _assets(ui: _Ui, mesh: Mesh, picture: Path) -> Path:
    """The way from a queue by its landing table and product to a fact."""
    ui.screen()
    contract = mesh.contract(PRODUCT)
    found = ui.get(f"/api/v2/assets?limit=1000&name_pattern={PRODUCT}")["assets"]
    ids = [each["id"] for each in found if each["name"] == PRODUCT]
    assert ids, f"there is no asset {PRODUCT}"
    # From top to bottom its names stand beside each other and can be read.
    ui.remember({f"direction-{ids[0]}": "DOWN"})
    ui.open(f"/assets/{ids[0]}")
    ui.expect(f"the page of {PRODUCT}", ["Task Dependencies", mesh.domains[contract.domain].owners.team])
    ui.click("//button[text()='Task Dependencies']")
    chain = [f"queue/{queue_of(contract).name}", landing_name(contract), PRODUCT, FACT]
    # It comes in the frame of the graph before it, where nothing of it may be seen.
    ui.expect(f"the graph of {PRODUCT}", chain, ".react-flow", clicking=".react-flow__controls-fitview")
    return ui.save(picture)


@contextmanager
def _browser() -> Iterator[Chrome]:
    """A browser without a screen; it ends with the block. Its driver is Debian's: none is fetched."""
    options = ChromeOptions()
    options.binary_location = BROWSER
    # Root, as in a container, gets no sandbox; and a container's /dev/shm is small.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"):
        options.add_argument(argument)
    chrome = Chrome(options, Service(DRIVER))
    try:
        yield chrome
    finally:
        chrome.quit()


@dataclass(frozen=True)
class _Ui:
    """The UI at a URL, in a browser."""

    chrome: Chrome
    url: str

    def log_in(self, user: str, password: str) -> None:
        self.open("/auth/login?next=/dags")
        self.expect("the login", ["Username", "Password"])
        self._find("input[name=username]").send_keys(user)
        self._find("input[name=password]").send_keys(password)
        self.click("button[type=submit]")
        self.expect("the first page after the login", ["Dags"])
        self.remember(_HABITS)

    def screen(self, zoom: float = 1) -> None:
        """Let the screen hold so many times as much; pictures keep their size."""
        size = {"width": round(WIDTH * zoom), "height": round(HEIGHT * zoom)}
        shape = {**size, "deviceScaleFactor": 1 / zoom, "mobile": False}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)

    def remember(self, habits: dict[str, Any]) -> None:
        for name, value in habits.items():
            self.chrome.execute_script("localStorage.setItem(...arguments)", name, json.dumps(value))

    def open(self, path: str) -> None:
        self.chrome.get(self.url + path)

    def get(self, path: str) -> Any:
        """What the API answers to the user who is logged in."""
        script = "fetch(arguments[0]).then(answer => answer.json()).then(arguments[1])"
        return self.chrome.execute_async_script(script, self.url + path)

    def click(self, selector: str) -> None:
        self._find(selector).click()

    def expect(self, what: str, texts: Sequence[str], inside: str = "body", clicking: str = "") -> None:
        """Wait until such elements have all texts and no placeholder; each look begins with the click, if any."""
        missing = list(texts)

        def has_all() -> bool:
            if clicking:
                self.click(clicking)
            try:
                read = "\n".join(each.text for each in self.chrome.find_elements(By.CSS_SELECTOR, inside))
            except StaleElementReferenceException:
                return False
            missing[:] = [text for text in texts if text not in read]
            return not missing and not self.chrome.find_elements(By.CSS_SELECTOR, ".chakra-skeleton")

        assert _wait(has_all), f"{what} lacks {', '.join(missing) or 'its content'}: {self.chrome.current_url}"

    def save(self, picture: Path) -> Path:
        """Save what is seen, as soon as two looks are alike; where runs go on, they never are."""
        seen = [""]

        def is_still() -> bool:
            seen.append(self.chrome.get_screenshot_as_base64())
            return seen[-1] == seen[-2]

        _wait(is_still, 8)
        picture.write_bytes(b64decode(seen[-1]))
        return picture

    def _find(self, selector: str) -> WebElement:
        by = By.XPATH if selector.startswith("//") else By.CSS_SELECTOR
        found = _wait(lambda: bool(self.chrome.find_elements(by, selector)))
        assert found, f"there is no {selector}: {self.chrome.current_url}"
        return self.chrome.find_element(by, selector)


def _wait(holds: Callable[[], bool], patience: float = PATIENCE) -> bool:
    end = time.monotonic() + patience
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


if __name__ == "__main__":
    for saved in look(*sys.argv[1:4], Path(sys.argv[4])):
        print(saved)
