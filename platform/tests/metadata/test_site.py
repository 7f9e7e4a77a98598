"""The static catalog: what its pages say, that nothing in them is markup of others, and that no personal value is."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from click.testing import CliRunner, Result
from mesh_platform.cli import mesh as command
from mesh_platform.metadata.site.lake_facts import value_text
from mesh_platform.metadata.site.paths import address, page, slug

from ..small_mesh import Place, Sale, add_contract, add_dashboard, small_mesh

# Values that no other word of a page contains.
BUYERS = ("zq-anne-0815", "zq-bert-4711", "zq-übel-<b>")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def call(place: Place, *words: str) -> Result:
    done = CliRunner().invoke(command, ("catalog", "build", *words), env={"MESH_ROOT": str(place.root)})
    # The command leaves its catalog to the end of its process, which is that of all tests here.
    gc.enable()
    assert not isinstance(done.exception, SystemExit) or done.exit_code == 0, done.output
    if done.exception:
        raise done.exception
    return done


def site(place: Place, *words: str) -> dict[str, str]:
    """The text of each file of the catalog."""
    call(place, "--out", str(place.root / "site"), *words)
    files = (path for path in (place.root / "site").rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(place.root / "site")): path.read_text(encoding="utf-8") for path in files}


class Read(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def pages(files: Mapping[str, str]) -> Iterator[tuple[str, Read]]:
    for path, text in files.items():
        if path.endswith(".html"):
            yield path, Read(text)


def test_a_page_of_a_product_answers_who_what_where_from_and_where_to(place: Place) -> None:
    place.land("alpha", [Sale(1, buyer=BUYERS[0]), Sale(2, buyer=BUYERS[1])])
    place.build()
    text = Read(site(place)["products/core.fact_sales.html"]).text
    for words in ("Team", "Contract", "domains/core/contracts/fact_sales.odcs.yaml", "month(sold_at)", "pii", "key",
                  "copied from", "core.sale_v1", "core.dim_buyer", "core. fact_sales__ resolved", "boss",
                  "Snapshots", "from core.fact_sales", "Sample rows", "2025-10-01"):  # fmt: skip
        assert words in text or words.replace(" ", "") in text.replace(" ", ""), words


def test_each_thing_of_the_mesh_has_a_page_and_search_finds_it(place: Place) -> None:
    glossary = {"terms": {"sale": {"definition": "What was sold.", "instead_of": ["deal"]}}}
    place.write("core/glossary.yaml", yaml.safe_dump(glossary))
    files = site(place)
    for name in place.mesh.contracts:
        assert page("product", name) in files
    for path in ("domains/alpha.html", "terms/core.sale.html", "people/t.html", "people/team-t.html",
                 "interfaces/sale.v1.html", "attention.html", "releases.html"):  # fmt: skip
        assert path in files
    found = json.loads(files["search.js"].removeprefix("CATALOG.entries(").removesuffix(");\n"))
    assert {row[1] for row in found} >= {*place.mesh.contracts, "alpha", "core.sale", "t", "sale.v1"}
    assert next(row for row in found if row[1] == "core.sale")[4] == "deal"
    columns = json.loads(files["columns.js"].removeprefix("CATALOG.columns(").removesuffix(");\n"))
    assert ["core.dim_buyer", "", "buyer sales total", "buyer"] in columns


def test_products_and_the_dashboards_that_show_them_link_to_each_other(place: Place) -> None:
    add_dashboard(place)
    files = site(place)
    own = "dashboards/core.sales.html"
    words = " ".join(Read(files[own]).words)
    for said in (
        "Sales",
        "What is sold.",
        "Which items sell",
        "fact_ sales__ resolved",
        ": amount",
        "label",
        "lag_hours",
    ):
        assert said in words, said
    assert {"../products/core.fact_sales.html", "../products/core.dim_item.html"} <= links(files[own])
    for product, column in (("fact_sales", "amount"), ("dim_item", "label")):
        page_ = files[f"products/core.{product}.html"]
        assert "../dashboards/core.sales.html" in links(page_)
        row = " ".join(Read(page_[page_.index("Shown in") :]).words)
        assert f"Which items sell Sales t {column}" in " ".join(row.split())
        assert "What is late" not in row
    assert "../dashboards/core.sales.html" in links(files["domains/core.html"])
    assert own in links(files["dashboards.html"])
    assert "Which items sell" in files["search.js"]
    add_dashboard(place, "select * from core.dim_item")
    assert "Shown in" not in site(place)["products/core.fact_sales.html"]


def links(text: str) -> set[str]:
    """Where a page leads to."""
    return {str(values.get("href")) for _, values in Read(text).elements}


def test_without_a_lake_the_pages_say_what_they_lack(place: Place) -> None:
    files = site(place)
    assert "no lake was read" in Read(files["index.html"]).text
    assert "No lake with its table was read" in Read(files["products/core.fact_sales.html"]).text
    assert not (place.root / ".mesh" / "catalog.db").exists()


def test_what_is_late_held_refused_or_fails_is_on_the_first_page(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.land("alpha", [Sale(1, item="i9")])
    place.build()
    monkeypatch.setenv("MESH_CLOCK", "2025-10-09T00:00:00Z")
    place.write("core/models/dim_item.sql", "select item_id, lable as label from core.items")
    text = Read(site(place)["index.html"]).text
    assert "Failing core.dim_item" in text
    assert "Late alpha.sales_alpha" in text
    assert "8 days, promised 24 h" in text
    assert "1 row refers to a row that a dimension lacks" in text
    assert "1 interface 0 releases" in text


def test_numbers_that_json_lacks_have_the_words_of_mesh_query() -> None:
    values = (float("nan"), float("inf"), float("-inf"), 0.5, None)
    assert [value_text(value) for value in values] == ["NaN", "Infinity", "-Infinity", "0.5", None]


def test_no_personal_value_is_in_any_byte(place: Place) -> None:
    place.land("alpha", [Sale(number, item=f"zq-item-{number}", buyer=name) for number, name in enumerate(BUYERS)])
    place.build()
    # A copy of a personal value under a harmless name is personal, too; so is what is made from it.
    add_contract(place, "core", "copied", {"copied": {"who": "string key", "shout": "string required"}})
    place.write(
        "core/models/copied.sql", "select distinct buyer as who, upper(buyer) as shout from core.fact_sales\n"
    )
    place.build("core.copied")
    call(place, "--out", str(place.root / "site"))
    written = b"".join(path.read_bytes() for path in (place.root / "site").rglob("*") if path.is_file())
    held = {str(row[0]) for row in place.rows("core.fact_sales", "buyer")}
    assert held == set(BUYERS)
    for value in [*held, *(f"zq-item-{number}" for number in range(3))]:
        for form in (value, value.upper(), json.dumps(value)[1:-1], value.replace("<", "&lt;"), slug(value)):
            assert form.encode() not in written, form
    assert b"2025-10-01" in written


NASTY = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "\"' onload=alert(3) x='",
    "{{ 7 * 7 }} {% raw %}",
    "\u202eevil\u202c \u2028 \u0627\u0644",
    "ünïcödé 漢字 \U0001f600",
    "x" * 3_000,
    "../../etc/passwd",
    "javascript:alert(4)",
)


@pytest.mark.parametrize("words", NASTY)
def test_no_text_of_others_becomes_markup_or_a_script(place: Place, words: str) -> None:
    path = place.root / "domains" / "core"
    owners = dict.fromkeys(("team", "steward", "contact", "on_call"), words)
    place.write("core/owners.yaml", yaml.safe_dump(owners))
    place.write("core/glossary.yaml", yaml.safe_dump({"terms": {"sale": {"definition": words, "unit": words}}}))
    contract = yaml.safe_load((path / "contracts" / "fact_sales.odcs.yaml").read_text())
    contract["description"]["purpose"] = words
    contract["schema"][0]["properties"][0]["description"] = words
    place.write("core/contracts/fact_sales.odcs.yaml", yaml.safe_dump(contract))
    read = dict(pages(site(place)))
    for name, found in read.items():
        scripts = [attributes for tag, attributes in found.elements if tag == "script"]
        assert [each["src"] for each in scripts] == ["../site.js" if "/" in name else "site.js"], name
        for tag, attributes in found.elements:
            assert not [key for key in attributes if key.startswith("on")], (name, tag)
            link = attributes.get("href")
            assert link is None or re.match(r"https?://|mailto:|#|[./\w-]+$", link), (name, link)
    assert " ".join(words.split()) in read["products/core.fact_sales.html"].text
    for name in ("search.js", "columns.js"):
        text = (place.root / "site" / name).read_text()
        assert "<" not in text
        assert "\u2028" not in text


def test_values_of_rows_are_text(place: Place) -> None:
    value = "<script>alert(1)</script>&amp;\u202e"
    place.write("core/reference/items.csv", f"item_id,label\ni1,{value}\n")
    place.build("core.items")
    found = Read(site(place)["products/core.items.html"])
    assert value in found.text
    assert [tag for tag, _ in found.elements].count("script") == 1


def test_links_lead_somewhere_ids_are_unique_and_no_page_is_too_large_for_a_browser(place: Place) -> None:
    wide = {"id": "string key"} | {f"column_{number}": "string" for number in range(700)}
    add_contract(place, "core", "wide", {"wide": wide})
    place.write("core/reference/wide.csv", ",".join(wide) + "\n")
    for number in range(170):
        add_contract(place, "core", f"reader_{number}", {f"reader_{number}": {"id": "string key"}})
        place.write(f"core/models/reader_{number}.sql", "select id from core.wide\n")
    place.land("alpha", [Sale(number) for number in range(3)])
    place.build("alpha.sales_alpha", "core.wide")
    files = site(place)
    read = dict(pages(files))
    assert {"products--2.html", "products/core.wide--2.html", "products/core.wide--edges.html"} <= read.keys()
    for path, found in read.items():
        assert len(found.elements) < 2_000, path
        ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), path
        for _, attributes in found.elements:
            link = attributes.get("href") or attributes.get("src")
            if link and not link.startswith(("mailto:", "http", "#")):
                target = (Path("/") / path).parent.joinpath(unquote(link)).resolve().relative_to("/")
                assert str(target) in files, (path, link)
    shown = " ".join(found.text for path, found in read.items() if path.startswith("products/core.wide--"))
    first = read["products/core.wide.html"].text
    for name in wide:
        assert name in shown.replace(" ", "") or name in first, name
    for number in range(170):
        assert f"core.reader_{number}.id" in shown


@pytest.mark.parametrize(
    "text", ["javascript:alert(1)", "data:text/html,x", "#channel", "ftp://x/y", "//x", "http://"]
)
def test_only_the_web_and_mail_are_links(text: str) -> None:
    assert address(text) is None


def test_an_address_of_the_web_or_of_mail_is_a_link() -> None:
    assert address("https://acme.example/x") == "https://acme.example/x"
    assert address("ops@acme.example") == "mailto:ops@acme.example"


def test_names_become_paths_that_are_safe_and_differ() -> None:
    names = [
        "a",
        "A",
        "a--2",
        "a-2",
        "../a",
        ".a",
        "a/b",
        "a b",
        "ä",
        "",
        ".",
        "x" * 200,
        "x" * 201,
        "\u202ea",
        "con",
    ]
    paths = [slug(name) for name in names]
    assert len({each.lower() for each in paths}) == len(names)
    for each in paths:
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,120}", each)
        assert "--" not in each
