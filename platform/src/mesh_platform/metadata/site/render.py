"""Pages as bytes: the templates, what their filters do, and a hash of what each file is made from."""

from __future__ import annotations

import json
import marshal
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from hashlib import blake2b
from importlib.resources import files
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from mesh_platform.cache.cache import Cache
from mesh_platform.metadata.site.drawing import draw
from mesh_platform.metadata.site.pages import Page
from mesh_platform.metadata.site.plots import Series, plot

_ASSETS = ("site.css", "site.js")
_HERE = files("mesh_platform.metadata.site")
# The space that indents a template.
_INDENT = re.compile(r"\s*\n\s*")


class SiteFile(NamedTuple):
    """A file of the site: a hash of what it is made from, and what returns its bytes."""

    source: str
    render: Callable[[], bytes]


def asset_files() -> dict[str, SiteFile]:
    """Return the style sheet and the script of the site, by path."""
    assets = {name: (_HERE / "assets" / name).read_bytes() for name in _ASSETS}
    return {name: SiteFile(_digest(text.decode()), partial(bytes, text)) for name, text in assets.items()}


class Renderer:
    """Makes files of pages; compiled templates are kept in `cache`."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._look = _look()

    def files(self, pages: Iterable[Page]) -> dict[str, SiteFile]:
        """Return the files that pages are, by path."""
        return {
            page.path: SiteFile(_digest(self._look, page.template, page.values), partial(self._render, page))
            for page in pages
        }

    def _render(self, page: Page) -> bytes:
        if page.template is None:
            return str(page.values).encode()
        return self._templates.get_template(page.template).render(page.values).encode("utf-8", "backslashreplace")

    @cached_property
    def _templates(self) -> jinja2.Environment:
        """The templates. Every value that they print is escaped, but for drawings of ours."""
        found = _Environment(loader=_Loader(), autoescape=True, undefined=jinja2.StrictUndefined)
        found.compiled = self._cache
        found.filters["plot"] = lambda each: plot(Series(**{key: each[key] for key in Series._fields}))
        found.filters["draw"] = _drawn
        found.filters["seen_from"] = _seen_from
        found.filters["breakable"] = _breakable
        return found


class _Environment(jinja2.Environment):
    """Compiles a template once: that takes longer than to write a few pages."""

    compiled: Cache

    def compile(self, source: Any, name: str | None = None, *more: Any, **options: Any) -> Any:
        compile_ = super().compile
        text = f"{name} {source}".encode()
        return marshal.loads(
            self.compiled.get("template", text, lambda: marshal.dumps(compile_(source, name, *more, **options)))
        )


class _Loader(jinja2.BaseLoader):
    """Reads templates of this package without their indentation, which would be a fifth of a large site."""

    def get_source(self, _environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        text = (_HERE / "templates" / template).read_text(encoding="utf-8")
        return _INDENT.sub("", text), template, lambda: True


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
