"""A browser without a network, to look at pages that are files."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_ui import BROWSER, DRIVER
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

SCHEMES = ("light", "dark")


@contextmanager
def browser(javascript: bool = True) -> Iterator[Chrome]:
    """A browser that is offline and notes each request; it ends with the block."""
    options = ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    if not javascript:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    chrome = Chrome(options, Service(DRIVER))
    try:
        chrome.execute_cdp_cmd("Network.enable", {})
        nothing = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        chrome.execute_cdp_cmd("Network.emulateNetworkConditions", nothing)
        screen(chrome, "light")
        yield chrome
    finally:
        chrome.quit()


def screen(chrome: Chrome, scheme: str, width: int = 1280, height: int = 900) -> None:
    """Set what the reader prefers, light or dark, and the size of the window."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)


def requests(chrome: Chrome) -> list[str]:
    """The addresses that were asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in chrome.get_log("performance")]
    sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    return [each["request"]["url"] for each in sent]


_WATCH = """
const box = document.querySelector('input[type=search]');
window.TOOK = []; let pressed = null;
document.addEventListener('keydown', event => { pressed = event.timeStamp; }, true);
new MutationObserver(() => {
  if (pressed === null || !document.querySelector('#found li')) return;
  const since = pressed; pressed = null;
  requestAnimationFrame(() => window.TOOK.push(performance.now() - since));
}).observe(document.getElementById('found'), {childList: true});
"""


def watch_answers(chrome: Chrome) -> Callable[[], list[float]]:
    """Time the search of the page from now on.

    The returned function returns, for each key that led to a list, milliseconds from the key to the frame that shows
    it, by the page's own clock: a driver's own round trips take longer than that.
    """
    chrome.execute_script(_WATCH)
    return lambda: list(chrome.execute_script("return window.TOOK"))


def complaints(chrome: Chrome) -> list[dict[str, Any]]:
    """What axe-core finds in the page as it is: what keeps people from reading or using it."""
    place = importlib.util.find_spec("axe_playwright_python")
    assert place
    assert place.submodule_search_locations
    # It would load style sheets once more, which the pages forbid.
    chrome.execute_script((Path(place.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8"))
    found: dict[str, Any] = chrome.execute_async_script("axe.run(document, {preload: false}).then(arguments[0])")
    return [
        {"rule": each["id"], "help": each["help"], "nodes": [node["html"][:200] for node in each["nodes"][:3]]}
        for each in found["violations"]
    ]
