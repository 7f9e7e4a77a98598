"""A running Superset of a test's own, by scripts/superset, and its pages in a browser. Other servers are left alone.

PYTHONPATH=tests:. python -m superset_server .mesh docs/images    makes the pictures of `make superset`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh_platform.dashboards.superset_assets import dataset_uuid
from mesh_platform.dashboards.superset_server import Server
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.sql.chart_query import chart_conditions, chart_dimensions, chart_metrics
from rabbit_node import is_free

from conftest import HANG, ROOT, State, new_state


@dataclass(frozen=True)
class Superset:
    """A Superset that shows the mesh of a state."""

    state: State
    environment: dict[str, str]
    url: str

    @property
    def passwords(self) -> dict[str, str]:
        """The password of each user."""
        secrets = json.loads((self.state.folder / "superset" / "secrets.json").read_text())
        return dict(secrets["passwords"])

    def session(self, user: str) -> Server:
        """A session of a user by REST."""
        return Server(self.url, user, self.passwords[user])

    def mesh(self, *words: str, check: int | None = 0) -> Any:
        """What `mesh ... --format json` prints."""
        result = self.state.mesh(*words, "--format", "json", check=check)
        return result.json if result.out else None


def chart_data(
    server: Server, numbers: dict[str, int], dashboard: Dashboard, name: str, **filtered: Any
) -> list[dict[str, Any]]:
    """The rows of a chart by Superset's API, as a page asks for them; `filtered` is what filters add to the query."""
    chart = dashboard.charts[name]
    grain = chart.params.get("time_grain_sqla")
    axis = {"columnType": "BASE_AXIS", "expressionType": "SQL", "timeGrain": grain}
    columns: list[Any] = [
        {**axis, "label": each, "sqlExpression": each} if grain and each == chart.params.get("x_axis") else each
        for each in chart_dimensions(chart)
    ]
    conditions = chart_conditions(dashboard.datasets[chart.dataset], chart)
    where = " AND ".join(f"({sql})" for clause, sql in conditions if clause == "WHERE")
    query = {"columns": columns, "metrics": chart_metrics(chart), "row_limit": 10000, "extras": {"where": where}}
    query |= filtered
    source = {"id": numbers[dataset_uuid(dashboard, chart.dataset)], "type": "table"}
    body = {"datasource": source, "queries": [query], "result_format": "json", "result_type": "full"}
    return list(server.send("POST", "chart/data", json=body).json()["result"][0]["data"])


@contextmanager
def superset_server(state: State) -> Iterator[Superset]:
    """Superset on the mesh of a state, started; it is stopped in the end."""
    port = next(port for port in range(9100 + os.getpid() % 800, 10000) if is_free(port))
    own = {**state.environment, "MESH_SUPERSET_PORT": str(port)}
    try:
        script(state, own, "start")
        yield Superset(state, own, f"http://127.0.0.1:{port}")
    finally:
        script(state, own, "stop")
        left = [each for each in Path("/proc").glob("[0-9]*") if _works_on(each, state.folder / "superset")]
        assert left == [], "scripts/superset stop left processes"


def _works_on(process: Path, home: Path) -> bool:
    try:
        variables = (process / "environ").read_bytes().split(b"\0")
        return (
            f"MESH_SUPERSET_HOME={home}".encode() in variables and "Z" not in (process / "stat").read_text().split()
        )
    except OSError:
        return False


def script(state: State, environment: dict[str, str], word: str) -> str:
    """Call scripts/superset, and return what it printed."""
    call = [str(state.root / "scripts" / "superset"), word]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, f"scripts/superset {word}: {done.stdout}{done.stderr}"
    return done.stdout


def look(
    url: str, user: str, password: str, dashboards: list[Dashboard], folder: Path | None
) -> dict[str, list[str]]:
    """Open each dashboard as a user, wait for its charts, save its picture; return what its page complains of."""
    from airflow_ui import BROWSER, DRIVER
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By

    options = ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"):
        options.add_argument(argument)
    complaints: dict[str, list[str]] = {}
    chrome = Chrome(options, Service(DRIVER))
    try:
        chrome.get(f"{url}/login/")
        wait_until(lambda: bool(chrome.find_elements(By.CSS_SELECTOR, "input[type=password]")), "the login")
        chrome.find_element(By.CSS_SELECTOR, "input#username, input[name=username]").send_keys(user)
        chrome.find_element(By.CSS_SELECTOR, "input[type=password]").send_keys(password + "\n")
        wait_until(lambda: "/login" not in chrome.current_url, "the page after the login")
        for dashboard in dashboards:
            rows = dashboard.file.rows
            height = 260 + sum(8 * max(cell.height for cell in row) + 32 for row in rows)
            shape = {"width": 1500, "height": height, "deviceScaleFactor": 1, "mobile": False}
            chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
            chrome.get(f"{url}{dashboard.page()}")
            titles = [chart.slice_name for chart in dashboard.charts.values()]

            def is_drawn(titles: list[str] = titles) -> bool:
                text = chrome.find_element(By.TAG_NAME, "body").text
                busy = chrome.find_elements(By.CSS_SELECTOR, ".loading, .ant-spin, [data-test=loading-indicator]")
                drawn = chrome.find_elements(
                    By.CSS_SELECTOR,
                    ".slice_container canvas, .slice_container table, .superset-legacy-chart-big-number",
                )
                return all(title in text for title in titles) and not busy and len(drawn) >= len(titles)

            wait_until(is_drawn, f"{dashboard.name}, all charts drawn")
            wrong = chrome.find_elements(By.CSS_SELECTOR, "[role=alert], .ant-alert-error, .missing-chart-container")
            complaints[dashboard.name] = [each.text for each in wrong if each.text.strip()]
            if folder is not None:
                time.sleep(1)
                whose = "-north" if user == "WH-NORTH" else ""
                picture = folder / f"superset-{dashboard.name.replace('_', '-')}{whose}.png"
                picture.write_bytes(b64decode(chrome.get_screenshot_as_base64()))
    finally:
        chrome.quit()
    return complaints


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Look until something holds; fails with `what` where it does not in time."""
    end = time.monotonic() + HANG
    while not holds():
        assert time.monotonic() < end, f"after {HANG:g} s: not yet {what}"
        time.sleep(0.5)


# Of whom docs/images has which dashboard; that of a warehouse shows its region alone.
PICTURES = {
    "analyst": ("deliveries", "stock_and_forecast"),
    "admin": ("orders_and_returns",),
    "WH-NORTH": ("orders_and_returns",),
    "steward": ("product_health",),
}
SMALLER = """import sys
from PIL import Image
for path in sys.argv[1:]:
    Image.open(path).convert("RGB").quantize(64, dither=0).save(path, optimize=True)
"""


if __name__ == "__main__":
    shown = new_state(Path(sys.argv[1]))
    where = (shown.folder / "superset" / "port").read_text().strip()
    running = Superset(shown, shown.environment, f"http://127.0.0.1:{where}")
    for user_, names in PICTURES.items():
        chosen = [each for each in load_mesh(ROOT).dashboards.values() if each.name in names]
        print(user_, look(running.url, user_, running.passwords[user_], chosen, Path(sys.argv[2])))
    # Superset's environment has Pillow; 64 colours make a third of the bytes.
    python = ROOT / ".venv-superset" / "bin" / "python"
    subprocess.run([python, "-c", SMALLER, *Path(sys.argv[2]).glob("superset-*.png")], check=True)
