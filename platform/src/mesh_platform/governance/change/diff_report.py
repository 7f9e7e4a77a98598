"""Reports of `mesh diff`: text for people, JSON for programs, Markdown for a pull request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mesh_platform.contract.version import parse_version
from mesh_platform.governance.change.assessment import Assessed, Needed
from mesh_platform.governance.change.diff import Diff, Effect
from mesh_platform.governance.change.impact import Affected
from mesh_platform.governance.change.model_changes import ModelChange
from mesh_platform.text import counted

_NOTHING = "No contract and no SQL changed."
_NO_BASE = "There is nothing to compare with: this is no git repository, or one without commits."


def as_text(diff: Diff) -> str:
    """A block for each contract and each SQL file."""
    if diff.commit is None:
        return _NO_BASE
    blocks = [[_heading(each), *_indented(_facts(each, effect))] for each, effect in diff.contracts]
    blocks += [[_model_heading(each), *_indented(_effect_facts(effect))] for each, effect in diff.models]
    blocks += [[f"{path}: could not be read, then or now, and is not compared"] for path in diff.not_compared]
    text = "\n\n".join("\n".join(block) for block in blocks)
    return f"Compared with {diff.commit[:12]}.\n\n{text or _NOTHING}"


def as_json(diff: Diff) -> str:
    """One object: `base`, `contracts`, `models` and `not_compared`."""
    value = {
        "base": diff.commit,
        "contracts": [_contract_value(each) | _effect_value(effect) for each, effect in diff.contracts],
        "models": [_model_value(each) | _effect_value(effect) for each, effect in diff.models],
        "not_compared": list(diff.not_compared),
    }
    return json.dumps(value, indent=1, ensure_ascii=False)


def as_markdown(diff: Diff) -> str:
    """A table with a line for each change, and a collapsed list with the details of each."""
    if diff.commit is None:
        return _NO_BASE
    rows = [_row(each, effect) for each, effect in diff.contracts]
    rows += [
        f"| `{each.path}` | | {_plain(_model_words(each))} | {_counted(effect)} | |" for each, effect in diff.models
    ]
    if not rows and not diff.not_compared:
        return f"{_NOTHING} (Compared with {diff.commit[:12]}.)"
    lines = [f"**Contracts and SQL compared with {diff.commit[:12]}**", ""]
    if rows:
        lines += ["| changed | version | change | reaches | consent |", "|---|---|---|---|---|", *rows, ""]
    details = [(_heading(each), _facts(each, effect)) for each, effect in diff.contracts]
    details += [(_model_heading(each), _effect_facts(effect)) for each, effect in diff.models]
    listed = [
        line
        for heading, facts in details
        for line in (f"- {_plain(heading)}", *(f"  - {word}: {_plain(text)}" for word, text in facts))
    ]
    if listed:
        lines += ["<details><summary>All changes, and what they reach</summary>", "", *listed, "", "</details>"]
    lines += [f"- `{path}` could not be read, then or now, and is not compared." for path in diff.not_compared]
    return "\n".join(lines).rstrip()


def _heading(assessed: Assessed) -> str:
    change = assessed.change
    if change.old is None:
        return f"{change.relation} {change.contract.version}: new ({change.contract.path})"
    if change.is_gone:
        return f"{change.relation} {change.old.version}: breaking, no longer published ({change.contract.path})"
    return f"{change.relation} {_versions(assessed)}: {assessed.kind or 'no change'} ({change.contract.path})"


def _versions(assessed: Assessed) -> str:
    old, new = assessed.change.old, assessed.change.new
    if old is None or new is None:
        return assessed.change.contract.version
    versions = old.version if old.version == new.version else f"{old.version} -> {new.version}"
    now, least = parse_version(new.version), assessed.least_version
    return f"{versions}, must be {least}" if now and least and now < least else versions


def _facts(assessed: Assessed, effect: Effect) -> list[tuple[str, str]]:
    sides = {each.side for each in assessed.differences}
    facts: list[tuple[str, str]] = [
        (each.kind, each.reason + (f" (for {each.side})" if len(sides) > 1 else "")) for each in assessed.differences
    ]
    if assessed.beside:
        facts.append(("consent", f"none is needed: {assessed.beside} promises what was promised"))
    facts += [("consent", _consent_words(each, assessed)) for each in assessed.consents]
    return list(dict.fromkeys([*facts, *_effect_facts(effect)]))


def _consent_words(needed: Needed, assessed: Assessed) -> str:
    if needed.given:
        consent = needed.given.consent
        return f"{needed.domain} agreed to {consent.version} on {consent.date} ({consent.by}: {consent.reason})"
    return f"{needed.domain} has not agreed to {assessed.consent_to}, and reads it in {', '.join(needed.by)}"


def _effect_facts(effect: Effect) -> list[tuple[str, str]]:
    facts = [("reaches", f"{table} ({', '.join(columns)})") for table, columns in _by_table(effect.reached).items()]
    facts += [("shown in", f"{name} ({', '.join(charts)})") for name, charts in _by_dashboard(effect.charts).items()]
    facts += [("shown in", path) for path in effect.files]
    return facts + [
        ("owner", f"{name}: {owner.team}, {owner.contact}") for name, owner in sorted(effect.owners.items())
    ]


def _by_table(reached: Iterable[Affected]) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for each in reached:
        tables.setdefault(each.table, []).append(each.column or "which rows it has")
    return tables


def _by_dashboard(charts: Iterable[str]) -> dict[str, list[str]]:
    dashboards: dict[str, list[str]] = {}
    for name in charts:
        dashboard, _, chart = name.rpartition(".")
        dashboards.setdefault(dashboard, []).append(chart)
    return dashboards


def _model_heading(change: ModelChange) -> str:
    return f"{change.path}: {_model_words(change)}"


def _model_words(change: ModelChange) -> str:
    if change.status != "changed":
        return f"{change.status} SQL"
    if not change.told:
        return "changed; which columns it computes differently is unknown"
    what = [*(["which rows there are"] if change.rows else []), *change.columns]
    effects = [f"computes differently: {', '.join(what)}"] if what else []
    return "; ".join([*effects, *([f"no longer gives: {', '.join(change.gone)}"] if change.gone else [])])


def _indented(facts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"  {word:<9} {text}" for word, text in facts]


def _row(assessed: Assessed, effect: Effect) -> str:
    change = assessed.change
    missing = [each.domain for each in assessed.consents if each.given is None]
    given = [each.domain for each in assessed.consents if each.given]
    consent = ", ".join([*(f"**{name}: missing**" for name in missing), *(f"{name}: given" for name in given)])
    kind = "new" if change.old is None else "removed" if change.is_gone else assessed.kind or "none"
    bold = f"**{kind}**" if assessed.kind == "breaking" else kind
    return f"| `{change.relation}` | {_plain(_versions(assessed))} | {bold} | {_counted(effect)} | {consent} |"


def _counted(effect: Effect) -> str:
    tables = _by_table(effect.reached)
    columns = sum(each.column is not None for each in effect.reached)
    what = counted(columns, "column") + " in" if columns else "rows of"
    counts = [f"{what} {counted(len(tables), 'table')}"] if tables else []
    dashboards = [*_by_dashboard(effect.charts), *effect.files]
    if dashboards:
        inside = f"{counted(len(effect.charts), 'chart')} of " if effect.charts else ""
        counts.append(f"{inside}{counted(len(dashboards), 'dashboard')}")
    return ", ".join(counts) or "nothing"


def _plain(text: str) -> str:
    """Escape text for a Markdown table, so that words of contracts are neither markup nor the end of a cell."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\|*`\[\]~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def _contract_value(assessed: Assessed) -> dict[str, Any]:
    change = assessed.change
    least = assessed.least_version
    status = "new" if change.old is None else "removed" if change.is_gone else "changed"
    return {
        "product": change.relation,
        "path": change.contract.path,
        "interface": change.is_interface,
        "status": status,
        "kind": assessed.kind,
        "old_version": change.old.version if change.old else None,
        "new_version": change.new.version if change.new else None,
        "least_version": str(least) if least else None,
        "changes": [
            {"kind": each.kind, "for": each.side, "column": each.column, "line": each.line, "reason": each.reason}
            for each in assessed.differences
        ],
        "beside": assessed.beside,
        "consents": [
            {
                "domain": each.domain,
                "version": str(assessed.consent_to),
                "given": each.given is not None,
                "reads_in": list(each.by),
            }
            for each in assessed.consents
        ],
    }


def _model_value(change: ModelChange) -> dict[str, Any]:
    return {
        "path": change.path,
        "table": change.table,
        "status": change.status,
        "columns": list(change.columns),
        "rows": change.rows,
        "told": change.told,
        "gone": list(change.gone),
    }


def _effect_value(effect: Effect) -> dict[str, Any]:
    reached = [{"table": each.table, "column": each.column} for each in effect.reached]
    owners = [
        {"domain": name, "team": owner.team, "contact": owner.contact}
        for name, owner in sorted(effect.owners.items())
    ]
    dashboards = [*_by_dashboard(effect.charts), *effect.files]
    return {"reaches": reached, "charts": [*effect.charts], "dashboards": dashboards, "owners": owners}


FORMATS: Mapping[str, Callable[[Diff], str]] = {"text": as_text, "json": as_json, "markdown": as_markdown}
