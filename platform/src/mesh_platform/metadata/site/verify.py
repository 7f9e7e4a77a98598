"""What differs between a catalog on disk and what the mesh says now. It only reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import unescape
from itertools import zip_longest
from pathlib import Path, PurePosixPath

from mesh_platform.lake.drift import Difference
from mesh_platform.metadata.site.paths import FOLDERS
from mesh_platform.metadata.site.render import SiteFile
from mesh_platform.metadata.site.write import MANIFEST, is_sound, read_manifest
from mesh_platform.text import shortened

_MARKUP = re.compile(r"<[^>]*>")
_SHOWN = 60


def site_differences(files: Mapping[str, SiteFile], folder: Path, command: str) -> Iterator[Difference]:
    """Yield how the catalog in `folder` differs from `files`, byte by byte. `command` builds it again.

    Files that no catalog made, and that none needs, are nobody's difference.
    """
    known = read_manifest(folder)
    if not known:
        mend = f"Run '{command}'." if not (folder / "index.html").exists() else f"Remove it, then run '{command}'."
        yield Difference(
            "catalog", None, str(folder), f"is no catalog, or has lost its {MANIFEST}", "a catalog", None, mend
        )
        return
    for path, file in files.items():
        try:
            content = (folder / path).read_bytes()
        except OSError:
            yield _difference(path, "is missing", "a page", None, f"Run '{command}'.")
            continue
        wanted = file.render()
        if content == wanted:
            continue
        sides = _first_unlike(wanted, content)
        made = known.get(path)
        if made and made[0] != file.source:
            yield _difference(path, "is stale", *sides, f"Run '{command}'.")
        else:
            # A build goes by size and time; where both are as it left them, it would keep the page.
            first = "Delete it, then run" if is_sound(folder, path, file.source, made) else "Run"
            yield _difference(path, "was changed by hand", *sides, f"{first} '{command}'.")
    for path in known:
        if path not in files and (folder / path).exists():
            yield _difference(path, "is of something that is gone", None, "a page", f"Run '{command}'.")


def _difference(path: str, what: str, expected: str | None, found: str | None, mend: str) -> Difference:
    product = None
    if path.startswith(f"{FOLDERS['product']}/"):
        product = PurePosixPath(path).name.removesuffix(".html").partition("--")[0]
    return Difference("catalog", product, path, what, expected, found, mend)


def _first_unlike(wanted: bytes, found: bytes) -> tuple[str | None, str | None]:
    """Return the first words of two pages that differ; where only the markup does, its first difference."""
    texts = [content.decode("utf-8", "replace") for content in (wanted, found)]
    words, other = ([each for each in _MARKUP.split(text) if each.strip()] for text in texts)
    for one, two in zip_longest(words, other):
        if one != two:
            return _quoted(one), _quoted(two)
    at = next(place for place, (one, two) in enumerate(zip_longest(*texts)) if one != two)
    before = max(0, at - _SHOWN // 2)
    return _quoted(texts[0][before : before + _SHOWN]), _quoted(texts[1][before : before + _SHOWN])


def _quoted(words: str | None) -> str | None:
    return None if not words else f"'{shortened(unescape(words), _SHOWN)}'"
