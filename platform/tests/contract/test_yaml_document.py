"""Any bytes read as YAML become a document with the lines of its parts, or one problem; nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mesh_platform.contract.yaml_document import Document, read_document
from mesh_platform.errors import Problem

GOOD = """\
name: things
schema:
  - name: a
    tags: [x, y]
  - {name: b,
     size: 3}
"""
_LEVELS = (b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 9))
_BOMB = b"a0: &a0 [x, x]\n" + b"".join(_LEVELS)


def read(folder: Path, content: bytes) -> Document | Problem:
    path = folder / "file.yaml"
    path.write_bytes(content)
    return read_document(path, folder)


def test_each_part_remembers_its_line(tmp_path: Path) -> None:
    document = read(tmp_path, GOOD.encode())
    assert isinstance(document, Document)
    assert document.data["schema"][1] == {"name": "b", "size": 3}
    places = [
        ("name",),
        ("schema",),
        ("schema", 0),
        ("schema", 0, "tags", 1),
        ("schema", 1, "name"),
        ("schema", 1, "size"),
    ]
    assert [document.line(place) for place in places] == [1, 2, 3, 4, 5, 6]


def test_what_is_not_there_has_the_line_of_what_should_hold_it(tmp_path: Path) -> None:
    document = read(tmp_path, GOOD.encode())
    assert isinstance(document, Document)
    assert document.line(("schema", 1, "description", "purpose")) == 5
    assert document.line(("nothing",)) == 1
    assert str(document.problem(("schema", 0, "name"), "is wrong.", "Mend it.")) == "file.yaml:3: is wrong. Mend it."


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path, prefix: bytes, end: bytes) -> None:
    document = read(tmp_path, prefix + GOOD.encode().replace(b"\n", end))
    assert isinstance(document, Document)
    assert document.data["name"] == "things"
    assert document.line(("schema", 1, "size")) == 6


def test_anchored_part_has_the_line_where_it_is_written(tmp_path: Path) -> None:
    document = read(tmp_path, b"a:\n  - &x\n    name: n\nb:\n  - *x\n")
    assert isinstance(document, Document)
    assert document.data["b"] == [{"name": "n"}]
    assert document.line(("b", 0, "name")) == 3


def test_merged_keys_may_be_overridden(tmp_path: Path) -> None:
    document = read(tmp_path, b"a: &x {name: n, size: 1}\nb:\n  <<: *x\n  name: m\n")
    assert isinstance(document, Document)
    assert document.data["b"] == {"name": "m", "size": 1}


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"a: 1\nb: 2\na: 3\n", 3, "key 'a' stands twice"),
        (b"x:\n  - a: 1\n    a: 1\n", 3, "key 'a' stands twice"),
        (b"a: 1\nb:\n\tc: 1\n", 3, "cannot start any token"),
        ("a: 1\nb: é\n".encode("latin-1"), 1, "byte 8 is not UTF-8"),
        ("a: é\n".encode("utf-16"), 1, "not UTF-8"),
        (b"a: \x00\n", 1, "control characters are not allowed"),
        (b"a: 1\nb: [1, 2\n", 3, "not valid YAML"),
        (b"a: 'x\n", 2, "not valid YAML"),
        (b"a: 1\n---\nb: 1\n", 2, "another document"),
        (b"a: 1\nb: *nobody\n", 2, "undefined alias"),
        (b"a: 1\nb: !!python/object/apply:os.system [x]\n", 2, "could not determine a constructor"),
        (b"a: 1\nb: 2025-13-45\n", 2, "'2025-13-45' is no timestamp"),
        (b"a: 1\nb: !!int x\n", 2, "'x' is no int"),
        (b"a: 1\nb: " + b"9" * 5000, 2, "is no int"),
        (b"a: 1\nb: 0x" + b"f" * 5000, 2, "is no int"),
        (b"a: 1\n? [b]\n: 1\n", 2, "a key is not a word"),
        (b"a: 1\n? {b: 1}\n: 1\n", 2, "a key is not a word"),
        (b"a: 1\nb: &b [*b]\n", 2, "nested more than 50 deep"),
        (b"a: 1\nb: " + b"[" * 100_000, 2, "nested more than 50 deep"),
        (b"a: 1\nb: " + b"[" * 5000 + b"]" * 5000, 2, "nested more than 50 deep"),
        (b"\n".join(b" " * i + b"a:" for i in range(60)), 51, "nested more than 50 deep"),
        (_BOMB, 1, "aliases make it longer than 50000 values"),
    ],
)
def test_what_cannot_be_read_is_one_problem_at_its_line(
    tmp_path: Path, content: bytes, line: int, words: str
) -> None:
    problem = read(tmp_path, content)
    assert isinstance(problem, Problem)
    assert problem.path == "file.yaml"
    assert words in problem.message
    assert problem.fix
    assert problem.line == line


@pytest.mark.parametrize("name", ["missing.yaml", "folder"])
def test_file_that_cannot_be_opened_is_a_problem(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    problem = read_document(tmp_path / name, tmp_path)
    assert isinstance(problem, Problem)
    assert str(problem).startswith(f"{name}:1: cannot be read: ")


@settings(deadline=None)
@given(content=st.binary(max_size=60) | st.text(":-[]{}&*!|>?#%@, '\"\n\tab01.<~", max_size=40).map(str.encode))
@example(content=b"!!timestamp x")
@example(content=b"!!binary \xc3\xa9")
@example(content=b"a: !!bool x")
@example(content=b"<<: 1")
@example(content=b"!!set {a, [b]}")
def test_no_bytes_raise(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    found = read(tmp_path_factory.getbasetemp(), content)
    assert isinstance(found, Document | Problem)
