"""The catalog in a browser that has no network: with and without JavaScript, by keyboard, light and dark."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_ui import DRIVER
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from site_browser import SCHEMES, browser, complaints, requests, screen, watch_answers

from conftest import missing, new_state

pytestmark = pytest.mark.e2e

# One page of each kind.
KINDS = (
    "index.html", "attention.html", "products.html", "domains.html", "interfaces.html", "terms.html", "people.html",
    "releases.html", "releases/r1.html", "domains/logistics_core.html", "interfaces/order.v1.html",
    "terms/logistics_core.product_id.html", "products/logistics_core.fact_orders.html",
    "products/north_warehouse.orders_north.html", "products/logistics_core.products.html",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalog of ACME after three days."""
    if not Path(DRIVER).exists():
        missing(f"no browser at {DRIVER}: install Debian's chromium and chromium-driver.")
    state = new_state(tmp_path_factory.mktemp("acme"))
    state.mesh("run", "--days", 3)
    found = state.json("catalog", "build", "--out", str(tmp_path_factory.mktemp("site") / "catalog"))
    folder = Path(found["index"]).parent
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 12_000_000
    return folder


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with browser() as found:
        yield found


def kinds(site: Path) -> list[Path]:
    pages = [site / name for name in KINDS]
    people = sorted((site / "people").iterdir())
    edges = sorted((site / "products").glob("*--edges.html"))
    return [*pages, people[0], people[-1], *edges[:1]]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_page_keeps_anybody_from_reading_it(site: Path, chrome: Chrome, scheme: str) -> None:
    found = {}
    for page in kinds(site):
        for width in (1280, 380):
            screen(chrome, scheme, width)
            chrome.get(page.as_uri())
            found[page.name, width] = complaints(chrome)
            assert chrome.execute_script("return document.getElementsByTagName('*').length") < 2_000, page
            # Only tables and drawings scroll sideways.
            assert chrome.execute_script("return document.documentElement.scrollWidth") <= width, (page, width)
    assert {page: faults for page, faults in found.items() if faults} == {}


def test_no_page_asks_for_anything_but_files(site: Path, chrome: Chrome) -> None:
    requests(chrome)
    chrome.get_log("browser")
    for page in kinds(site):
        chrome.get(page.as_uri())
        chrome.find_element(By.CSS_SELECTOR, "input[type=search]").click()
        time.sleep(0.1)
    asked = requests(chrome)
    assert asked
    assert [url for url in asked if not url.startswith((site.as_uri(), "data:"))] == []
    assert [entry for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_search_answers_as_one_types_and_the_keyboard_is_enough(
    site: Path, chrome: Chrome, capsys: pytest.CaptureFixture[str]
) -> None:
    screen(chrome, "light")
    chrome.get((site / "domains" / "ml_insights.html").as_uri())
    ActionChains(chrome).send_keys("/").perform()
    box = chrome.switch_to.active_element
    assert box.get_attribute("role") == "combobox"
    took = watch_answers(chrome)
    for letter in "fact orders":
        box.send_keys(letter)
        _await(chrome, "#found li")
    with capsys.disabled():
        print(f"\nfrom a key to its list: at most {max(took()):.0f} ms; the first: {took()[0]:.0f} ms")
    assert complaints(chrome) == []
    box.send_keys(Keys.ARROW_DOWN, Keys.ARROW_UP)
    chosen = chrome.find_element(By.CSS_SELECTOR, "#found [aria-selected=true]")
    assert chosen.get_attribute("id") == box.get_attribute("aria-activedescendant")
    assert "logistics_core.fact_orders" in chosen.text
    box.send_keys(Keys.ENTER)
    _await(chrome, "h1")
    assert chrome.current_url == (site / "products" / "logistics_core.fact_orders.html").as_uri()


FOUND = {"sku": "product_id", "amount_usd": "amount_usd", "okafor": "Ada Okafor", "pii customer_id": "customer_id"}


@pytest.mark.parametrize(("words", "first"), (FOUND | {"NORTH ops": "North Ops"}).items())
def test_search_finds_terms_columns_and_people(site: Path, chrome: Chrome, words: str, first: str) -> None:
    chrome.get((site / "index.html").as_uri())
    box = chrome.find_element(By.CSS_SELECTOR, "input[type=search]")
    box.send_keys(words)
    _await(chrome, "#found li")
    assert first in chrome.find_element(By.CSS_SELECTOR, "#found li").text
    box.send_keys(Keys.ESCAPE)
    assert chrome.find_elements(By.CSS_SELECTOR, "#found li") == []
    box.send_keys("zebra giraffe")
    assert chrome.find_elements(By.CSS_SELECTOR, "#found li") == []


def test_each_node_of_a_drawing_of_lineage_is_reached_by_the_keyboard(site: Path, chrome: Chrome) -> None:
    chrome.get((site / "products" / "logistics_core.fact_orders.html").as_uri())
    links = {link.get_dom_attribute("href") for link in chrome.find_elements(By.CSS_SELECTOR, "svg.graph a")}
    assert len(links) > 5
    reached = set()
    for _ in range(400):
        ActionChains(chrome).send_keys(Keys.TAB).perform()
        script = "const a = document.activeElement; return a.closest('svg') && a.getAttribute('href')"
        reached.add(chrome.execute_script(script))
    assert links <= reached


def test_everything_but_search_is_there_without_javascript(site: Path) -> None:
    with browser(javascript=False) as chrome:
        requests(chrome)
        for page in kinds(site):
            chrome.get(page.as_uri())
            assert chrome.find_element(By.TAG_NAME, "h1").text
            assert len(chrome.find_element(By.TAG_NAME, "main").text) > 60, page
            assert chrome.find_elements(By.CSS_SELECTOR, "input") == []
        assert [url for url in requests(chrome) if not url.startswith((site.as_uri(), "data:"))] == []
        chrome.get((site / "index.html").as_uri())
        chrome.find_element(By.LINK_TEXT, "logistics_core").click()
        chrome.find_element(By.PARTIAL_LINK_TEXT, "fact_orders").click()
        text = chrome.find_element(By.TAG_NAME, "main").text
        assert "Sample rows" in text
        assert "Made from" in text


def _await(chrome: Chrome, selector: str) -> None:
    end = time.monotonic() + 30
    while not chrome.find_elements(By.CSS_SELECTOR, selector):
        assert time.monotonic() < end, f"there is no {selector}"
        time.sleep(0.002)
