"""Writing the site: little is written again, nothing of others is touched, and a killed build is repaired."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from mesh_platform.errors import UsageError
from mesh_platform.metadata.site.write import MANIFEST, Written, write_site

from ..small_mesh import small_mesh
from .test_site import call

PAGES = {f"products/p{number}.html": f"v1 {number}" for number in range(20)} | {"index.html": "v1"}


def render(source: str) -> bytes:
    return f"<p>{source}".encode()


def write(folder: Path, pages: dict[str, str]) -> Written:
    return write_site(folder, pages, lambda path: render(pages[path]))


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in files if not path.name.startswith(".catalog.")
    }


def expected(pages: dict[str, str]) -> dict[str, bytes]:
    return {path: render(source) for path, source in pages.items()}


def test_a_second_build_writes_only_what_changed(tmp_path: Path) -> None:
    assert write(tmp_path, PAGES).written == len(PAGES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.html")}
    later = PAGES | {"products/p3.html": "v2"}
    done = write(tmp_path, later)
    assert (done.written, done.unchanged, done.removed) == (1, len(PAGES) - 1, 0)
    assert content(tmp_path) == expected(later)
    changed = {path.name for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert changed == {"p3.html"}
    assert done.size == sum(len(each) for each in expected(later).values())


def test_pages_of_things_that_are_gone_are_removed_and_files_of_others_stay(tmp_path: Path) -> None:
    write(tmp_path, PAGES)
    (tmp_path / "notes.html").write_text("mine")
    (tmp_path / ".notes.html-draft").write_text("mine")
    (tmp_path / "products" / "mine.txt").write_text("mine")
    assert write(tmp_path, {"index.html": "v1"}).removed == 20
    assert content(tmp_path).keys() == {"index.html", "notes.html", ".notes.html-draft", "products/mine.txt"}


def test_a_page_that_somebody_changed_or_removed_is_written_again(tmp_path: Path) -> None:
    write(tmp_path, PAGES)
    (tmp_path / "index.html").write_text("torn")
    (tmp_path / "products" / "p1.html").unlink()
    assert write(tmp_path, PAGES).written == 2
    assert content(tmp_path) == expected(PAGES)


def test_a_file_that_the_catalog_did_not_make_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("my homepage")
    with pytest.raises(UsageError, match=r"index\.html: the catalog did not make this file"):
        write(tmp_path, PAGES)
    assert content(tmp_path) == {"index.html": b"my homepage"}
    file = tmp_path / "index.html"
    with pytest.raises(UsageError, match="is a file"):
        write(file, PAGES)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": {"../other.html": ["x", 1, 2], "/etc/x": null}}'])
def test_no_list_of_files_makes_a_build_remove_what_is_outside(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.html").write_text("mine")
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / MANIFEST).write_text(text)
    write(folder, PAGES)
    assert content(folder) == expected(PAGES)
    assert (tmp_path / "other.html").read_text() == "mine"


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", range(0, 21, 4))
def test_a_build_that_stops_at_any_page_is_repaired_even_if_the_change_is_undone(tmp_path: Path, after: int) -> None:
    write(tmp_path, PAGES)
    later = {path: "v2" for path in ("products/new.html", *PAGES) if path != "products/p0.html"}
    rendered: list[str] = []

    def stop(path: str) -> bytes:
        if len(rendered) == after:
            raise Killed
        rendered.append(path)
        return render(later[path])

    if after < len(later):
        with pytest.raises(Killed):
            write_site(tmp_path, later, stop)
    write(tmp_path, PAGES)
    assert content(tmp_path) == expected(PAGES)


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    write(tmp_path, PAGES)
    (tmp_path / "products" / ".p1.html-ab12cd34").write_text("ha")
    (tmp_path / f".{MANIFEST}-ab12cd34").write_text("ha")
    later = PAGES | {"index.html": "v2"}
    write(tmp_path, later)
    assert content(tmp_path) == expected(later)
    assert [path.name for path in tmp_path.glob(".*-*")] == []


def build_slowly(folder: Path, version: str) -> None:
    def slow(path: str) -> bytes:
        time.sleep(0.002)
        return render(version + path)

    write_site(folder, {path: version + path for path in PAGES}, slow)


def test_two_builds_at_once_leave_the_pages_of_one(tmp_path: Path) -> None:
    context = get_context("fork")
    builds = [context.Process(target=build_slowly, args=(tmp_path, version)) for version in ("a", "b", "c")]
    for each in builds:
        each.start()
    for each in builds:
        each.join(60)
    assert [each.exitcode for each in builds] == [0, 0, 0]
    found = content(tmp_path)
    (version,) = {text[3:4] for text in found.values()}
    assert found == {path: render(version.decode() + path) for path in PAGES}


def test_the_command_is_repaired_after_it_was_killed(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    folder = tmp_path / "site"
    words = [sys.executable, "-m", "mesh_platform.cli", "catalog", "build", "--out", str(folder)]
    program = "from mesh_platform.cli import main; import sys; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words[3:]],
        env=os.environ | {"MESH_ROOT": str(place.root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not [*folder.glob("*.html")] and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    call(place, "--out", str(folder))
    left = content(folder)
    call(place, "--out", str(tmp_path / "other"))
    assert left == content(tmp_path / "other")


def test_a_change_of_one_contract_rewrites_only_the_pages_that_show_it(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    folder = tmp_path / "site"
    call(place, "--out", str(folder))
    before = content(folder)
    path = place.root / "domains/core/contracts/dim_buyer.odcs.yaml"
    path.write_text(path.read_text().replace("purpose: A test.", "purpose: All who bought."))
    call(place, "--out", str(folder))
    after = content(folder)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {
        "products/core.dim_buyer.html", "products.html", "search.js", "domains/core.html", "people/t.html",
        "people/team-t.html",
    }  # fmt: skip
