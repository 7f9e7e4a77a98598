"""A pattern of a contract matches the same everywhere: in the check, in reference files, in ingest and in a build."""

from __future__ import annotations

import re
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mesh_platform.build.reference import read_reference
from mesh_platform.contract.pattern import _PLAIN_PATTERN, pattern_matches
from mesh_platform.engine.sql import literal
from mesh_platform.errors import AttentionError, ContractError
from mesh_platform.governance.check import check as check_rules
from mesh_platform.governance.check import open_scope
from mesh_platform.mesh.mesh import load_mesh

from conftest import draws

from ..every_type import check, every_type, line
from ..small_mesh import Place, add_contract, small_mesh

PATTERNS = [
    r"^\d+$", r"\d", r"^\w+$", r"\w", r"\s", r"^\S+$", r"^a$", "^$", "^.$", ".", "a.b", "^[0-9]+$", "[^a]", "(?i)É",
    "^[A-Z]-[0-9]+$",
    r"\bb", "a|b$", "^a*$", "abc$", "", r"[\w.]+@\w+\.\w+?", "^[[:alpha:]]+$", "^[a-c-e]$", "[]a]", r"^x{2,3}$",
]  # fmt: skip
TEXTS = [
    "", "a", "b", "ab", "abc", "a\n", "abc\n", "\n", "a\nb", "a\r\n", "1", "12", "1\n", "٣", "१२", "ä", "É", "é",
    "日本", "\u2028", "\u00a0", " ", "\v", "\t", "\x1c", "\x7f", "𝄞", "A-1", "A-٣", "A-1\n", "a@b.c", "-", "]", "xx",
    "_",
]  # fmt: skip


def by_arrow(pattern: str, texts: list[str]) -> list[bool]:
    found: list[bool] = pc.match_substring_regex(pa.array(texts), pattern).to_pylist()
    return found


def by_duckdb(pattern: str, texts: list[str]) -> list[bool]:
    with duckdb.connect() as connection:
        query = f"SELECT regexp_matches(unnest(?), {literal(pattern)})"
        return [row[0] for row in connection.execute(query, [texts]).fetchall()]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_check_arrow_and_duckdb_agree(pattern: str):
    found = [pattern_matches(pattern, text) for text in TEXTS]
    assert found == by_arrow(pattern, TEXTS) == by_duckdb(pattern, TEXTS)


_PARTS = [*"-a0Z_^$|.,:@#/ []?*+", r"\d", r"\w", r"\s", r"\.", "[^", "a-c", "0-9", "{0}", "{2,}", "{07}", "{1,3}"]
_LETTERS = st.sampled_from(
    [*"-aAbcZ019_^$|.,:@#/ []?*+{}\\", "\n", "\t", "\v", "\x1c", "\x85", "٣", "ä", "ſ", "\u2028"]
)


@settings(deadline=None, max_examples=draws(400))
@given(st.lists(st.sampled_from(_PARTS), max_size=10).map("".join), st.lists(_LETTERS, max_size=8).map("".join))
@example(r"^\d+$", "1\n")
@example(r"^\s$", "\v")
@example(r"^\s$", "\x1c")
def test_any_pattern_that_is_taken_finds_what_re2_finds(pattern: str, text: str):
    with warnings.catch_warnings(action="ignore"):
        try:
            re.compile(pattern)
            wanted = by_arrow(pattern, [text])
        except (re.error, ValueError):
            return
    assert [pattern_matches(pattern, text)] == wanted


@settings(deadline=None, max_examples=draws(300))
@example("0{00}", "")
@given(st.from_regex(_PLAIN_PATTERN, fullmatch=True), st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_in_printable_ascii_a_plain_pattern_finds_what_re2_finds(pattern: str, text: str):
    with warnings.catch_warnings(action="ignore"):
        try:
            re.compile(pattern)
        except re.error:
            return
        assert [pattern_matches(pattern, text)] == by_arrow(pattern, [text])


@pytest.mark.parametrize("text", ["A-12", "A-٣", "A-12\n", "A-१", "a-1", ""])
def test_the_example_reference_file_ingest_and_build_say_the_same(tmp_path: Path, text: str):
    pattern = r"^[A-Z]-\d+$"
    fits = by_arrow(pattern, [text]) == [True]
    contract = every_type(tmp_path, code={"logicalTypeOptions": {"pattern": pattern}})
    assert (check(contract, line(code=text)).accepted.num_rows == 1) == fits
    place = small_mesh(tmp_path / "mesh")
    add_contract(place, "core", "codes", {"codes": {"id": "int key", "code": "string"}})
    _give(place, "code", logicalTypeOptions={"pattern": pattern}, examples=[text])
    # An empty cell of a reference file is a missing value, to which patterns do not apply.
    if text:
        place.write("core/reference/codes.csv", f'id,code\n1,"{text}"\n')
        mesh = load_mesh(place.root)
        assert _is_taken(lambda: read_reference(mesh, mesh.contracts["core.codes"]), ContractError) == fits
        (place.root / "domains/core/reference/codes.csv").unlink()
    place.write("core/models/codes.sql", f"select 1 as id, {literal(text)} as code")
    assert _is_taken(lambda: place.build("core.codes"), AttentionError) == fits
    told = check_rules(open_scope(place.root, date(2025, 10, 1)), ("examples",))
    faults = [str(problem) for problem in told if "of 'code'" in str(problem)]
    assert (not faults) == fits, faults


def _is_taken(act: Any, refusal: type[Exception]) -> bool:
    try:
        act()
    except refusal:
        return False
    return True


def _give(place: Place, name: str, **parts: Any) -> None:
    path = place.root / "domains/core/contracts/codes.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    next(each for each in contract["schema"][0]["properties"] if each["name"] == name).update(parts)
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
