"""A browser without a network, to look at pages that are files."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
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
