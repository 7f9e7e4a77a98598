"""Building the site: gathers what pages are made from, and writes those that changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mesh_platform.metadata.site.drawing import draw
from mesh_platform.metadata.site.facts import Facts
from mesh_platform.metadata.site.pages import Page, all_pages
from mesh_platform.metadata.site.plots import Series, plot
from mesh_platform.metadata.site.write import Written, write_site

_ASSETS = ("site.css", "site.js")
_HERE = files("mesh_platform.metadata.site")
# The space that indents a template.
_INDENT = re.compile(r"\s*\n\s*")


def build_site(facts: Facts, folder: Path, progress: Callable[[int], None] = lambda steps: None) -> Written:
    """Write the catalog to `folder`. Raises UsageError if a file of somebody else is in the way."""
    pages = {page.path: page for page in all_pages(facts)}
    look = _look()
    sources = {path: _digest(look, page.template, page.values) for path, page in pages.items()}
    assets = {name: (_HERE / "assets" / name).read_bytes() for name in _ASSETS}
    sources |= {name: _digest(content.decode()) for name, content in assets.items()}
    return write_site(folder, sources, lambda path: assets.get(path) or render(pages[path]), progress)


def render(page: Page) -> bytes:
    """Return the bytes of a page."""
    if page.template is None:
        return str(page.values).encode()
    return _templates().get_template(page.template).render(page.values).encode("utf-8", "backslashreplace")


class _Loader(jinja2.BaseLoader):
    """Reads templates of this package without their indentation, which would be a fifth of a large site."""

    def get_source(self, _environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        text = (_HERE / "templates" / template).read_text(encoding="utf-8")
        return _INDENT.sub("", text), template, lambda: True


@cache
def _templates() -> jinja2.Environment:
    """The templates. Every value that they print is escaped, but for drawings of ours."""
    found = jinja2.Environment(loader=_Loader(), autoescape=True, undefined=jinja2.StrictUndefined)
    found.filters["plot"] = lambda each: plot(Series(**{key: each[key] for key in Series._fields}))
    found.filters["draw"] = _drawn
    found.filters["seen_from"] = _seen_from
    found.filters["breakable"] = _breakable
    return found


def _drawn(lineage: Mapping[str, Any], here: str) -> Markup:
    labels = lineage["labels"].items()
    # Of a large mesh, the list below the drawing has the links.
    linked = not lineage["is_large"]
    moved = {name: (label, _seen_from(href, here) if href and linked else None) for name, (label, href) in labels}
    up, down = ([(edge[0], edge[1]) for edge in lineage[side]] for side in ("up", "down"))
    return draw(lineage["start"], up, down, moved)


def _seen_from(href: str, here: str) -> str:
    """Return the link to a page, or to an address outside, as the page `here` has it."""
    if ":" in href:
        return href
    folder, _, name = href.rpartition("/")
    own = here.rpartition("/")[0]
    return name if folder == own else "../" * bool(own) + href


def _breakable(name: str) -> Markup:
    """Return a name that a browser may break after each dot and underscore."""
    return Markup("<wbr>").join(re.findall(r"[^._]*[._]+|[^._]+", name)) if len(name) > 24 else Markup.escape(name)


def _look() -> str:
    """A hash of everything that decides how values become pages."""
    digest = blake2b(digest_size=16)
    for place in (_HERE, _HERE / "templates"):
        for each in sorted(place.iterdir(), key=lambda path: path.name):
            if each.name.endswith((".py", ".html")):
                digest.update(each.name.encode() + each.read_bytes())
    return digest.hexdigest()


def _digest(*values: Any) -> str:
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()
