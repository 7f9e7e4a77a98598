"""The lineage around a relation: which others are near, and a drawing of them, as inline SVG with links."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

_BOX, _GAP, _ROW, _HIGH = 152, 32, 34, 26
# The letters that fit into a box.
_LETTERS = 21
# So many of those that are read, or that read, are shown in any case.
_NEAREST = 30

Near = Callable[[str], Sequence[str]]


def neighbours(start: str, near: Near, most: int) -> tuple[list[tuple[str, str]], int]:
    """Return the edges (nearer, farther) to the relations around `start`, nearest first, and how many
    relations at their edge lead on to others that are left out: farther ones where there are `most` already.
    """
    seen, waiting, edges, cut = {start}, [start], [], 0
    for name in waiting:
        others = near(name)
        room = _NEAREST if name == start else most
        for other in others:
            if other not in seen and len(seen) <= room:
                seen.add(other)
                waiting.append(other)
            if other in seen:
                edges.append((name, other))
        cut += any(other not in seen for other in others)
    return edges, cut


def levels(start: str, edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return how far each relation is from `start`, by the longest way; a cycle ends somewhere."""
    found = {start: 0}
    for _ in range(len(edges)):
        before = dict(found)
        for nearer, farther in edges:
            if farther != start and nearer in found and found[nearer] < len(edges):
                found[farther] = max(found.get(farther, 0), found[nearer] + 1)
        if found == before:
            break
    return found


def draw(
    start: str,
    up: Sequence[tuple[str, str]],
    down: Sequence[tuple[str, str]],
    labels: Mapping[str, tuple[str, str | None]],
) -> Markup:
    """Draw the relations around `start`, sources on the left; `labels` maps each to its text and its page."""
    place = {name: -level for name, level in levels(start, up).items()} | levels(start, down)
    columns: dict[int, list[str]] = {}
    for name, level in place.items():
        columns.setdefault(level, []).append(name)
    first, rows = min(columns), max(len(names) for names in columns.values())
    width = (max(columns) - first + 1) * (_BOX + _GAP) - _GAP + 2
    height = rows * _ROW + 2
    at: dict[str, tuple[int, int]] = {}
    for level, names in columns.items():
        top = (rows - len(names)) * _ROW // 2 + (_ROW - _HIGH) // 2 + 1
        for number, name in enumerate(names):
            at[name] = ((level - first) * (_BOX + _GAP) + 1, top + number * _ROW)
    # One path for all boxes: of a large mesh, drawings are a third of the site.
    frames = "".join(f"M{x} {y}h{_BOX}v{_HIGH}h-{_BOX}z" for name, (x, y) in at.items() if name != start)
    drawn = dict.fromkeys([*((farther, nearer) for nearer, farther in up), *down])
    lines = "".join(_line(at[source], at[target]) for source, target in drawn)
    boxes = "".join(_box(name, *at[name], *labels[name], name == start) for name in at)
    return Markup(
        f'<svg class=graph viewBox="0 0 {width} {height}" width={width} height={height}>'
        f'<path d="{lines}"/><path class=boxes d="{frames}"/>{boxes}</svg>'
    )


def _line(source: tuple[int, int], target: tuple[int, int]) -> str:
    x, y = source[0] + _BOX, source[1] + _HIGH // 2
    end, low = target[0], target[1] + _HIGH // 2
    return f"M{x} {y}C{x + _GAP // 2} {y} {end - _GAP // 2} {low} {end} {low}"


def _box(name: str, x: int, y: int, label: str, href: str | None, is_start: bool) -> str:
    shown, title = label, ""
    if len(label) > _LETTERS:
        shown, title = f"{label[: _LETTERS - 1]}…", f"<title>{escape(name)}</title>"
    text = f"{title}<text x={x + 8} y={y + 17}>{escape(shown)}</text>"
    if is_start:
        return f"<rect class=me x={x} y={y} width={_BOX} height={_HIGH} />{text}"
    return f'<a href="{escape(href)}">{text}</a>' if href else text


def tree(start: str, edges: Sequence[tuple[str, str]], labels: Mapping[str, Sequence[str | None]]) -> list[Any]:
    """Return `edges` as nested items (name, page, items); what was listed before has no items again."""
    near: dict[str, list[str]] = {}
    for nearer, farther in edges:
        near.setdefault(nearer, []).append(farther)
    shown = {start}

    def below(name: str) -> list[Any]:
        items = []
        for other in near.get(name, ()):
            again = other in shown
            shown.add(other)
            items.append([other, labels[other][1], [] if again else below(other), again and other in near])
        return items

    return below(start)
