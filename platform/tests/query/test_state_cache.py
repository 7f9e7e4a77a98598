"""A state is counted once, another state is counted again, and a damaged cache file does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from mesh_platform.query.state_cache import StateCache
from mesh_platform.query.status import read_status

from ..small_mesh import START, Place, Sale, small_mesh


def test_a_state_is_counted_once_over_processes(tmp_path: Path) -> None:
    counted: list[int] = []

    def count() -> int:
        counted.append(1)
        return len(counted)

    first = StateCache(tmp_path / "state" / "counts.json")
    assert [first.get("a", [1, None], count), first.get("a", [1, None], count)] == [1, 1]
    first.save()
    second = StateCache(tmp_path / "state" / "counts.json")
    assert second.get("a", [1, None], count) == 1
    assert [second.get("a", [2, None], count), second.get("b", [1, None], count)] == [2, 3]
    second.save()
    assert StateCache(tmp_path / "state" / "counts.json").get("a", [2, None], count) == 2
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["counts.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 7}', '{"a": [[1]]}', '{"a": {"x": 1}}', "\ud800"])
def test_a_damaged_file_costs_counting_again(tmp_path: Path, text: str) -> None:
    path = tmp_path / "counts.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    cache = StateCache(path)
    assert cache.get("a", [1], lambda: 5) == 5
    cache.save()
    assert StateCache(path).get("a", [1], lambda: 6) == 5


def test_a_folder_that_takes_no_file_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = StateCache(tmp_path / "file" / "counts.json")
    assert cache.get("a", [1], lambda: 5) == 5
    cache.save()


def test_status_follows_each_new_state(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    counts = tmp_path / "counts.json"

    def status(place: Place) -> dict[str, tuple[int, object, int | None]]:
        found = read_status(place.mesh, place.catalog, START, StateCache(counts))
        assert found == read_status(place.mesh, place.catalog, START)
        return {each.table: (each.rows, each.max_event_time, each.dangling) for each in found}

    place.land("alpha", [Sale(1, 1, item="i9")])
    place.build()
    assert status(place)["core.fact_sales"][::2] == (1, 1)
    place.land("alpha", [Sale(2, 5)])
    place.build()
    assert status(place)["core.fact_sales"][::2] == (2, 1)
    assert status(place)["alpha.sales_alpha__raw"][1] == Sale(2, 5).time
    # The dimension gets the item, and the fact does not change.
    place.write("core/reference/items.csv", "item_id,label\ni1,Lamp\ni9,Chair\n")
    place.build()
    assert status(place)["core.fact_sales"][::2] == (2, 0)
