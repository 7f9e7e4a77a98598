"""Reports of a check: text for people, JSON, SARIF for code hosts, commands of GitHub Actions."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mesh_platform.errors import Problem
from mesh_platform.governance.registry import GlobalRule

_KEYS = ("path", "line", "rule", "severity", "message", "fix")


def as_text(problems: Sequence[Problem], rules: Mapping[str, GlobalRule]) -> str:
    """A line for each problem, `path:line rule message fix`; then the waived ones, and the totals."""
    open_ones = [each for each in problems if each.severity != "waived"]
    waived = [each for each in problems if each.severity == "waived"]
    lines = [_line(each) for each in open_ones]
    if waived:
        lines += [*([""] if lines else []), f"{len(waived)} waived:", *(_line(each) for each in waived)]
    counts = Counter(each.severity for each in open_ones)
    counted = " and ".join(f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in sorted(counts.items()))
    held = f"All {len(rules)} rules hold" if len(rules) > 1 else f"The rule {', '.join(rules)} holds"
    held += f", {len(waived)} of their problems waived." if waived else "."
    summary = f"{counted}. docs/rules/<rule>.md says why." if counted else held
    return "\n".join([*lines, "", summary] if lines else [summary])


def _line(problem: Problem) -> str:
    mark = "" if problem.severity != "warning" else " (warning)"
    return f"{problem.path}:{problem.line} {problem.rule}{mark} {problem.message} {problem.fix}".rstrip()


def as_json(problems: Sequence[Problem], rules: Mapping[str, GlobalRule]) -> str:
    """A list of objects with path, line, rule, severity, message and fix."""
    return json.dumps([{key: getattr(each, key) for key in _KEYS} for each in problems], indent=1, ensure_ascii=False)


def as_github(problems: Sequence[Problem], rules: Mapping[str, GlobalRule]) -> str:
    """Workflow commands, which GitHub shows at the lines of a pull request."""
    kinds = {"error": "error", "warning": "warning", "waived": "notice"}
    return "\n".join(
        f"::{kinds[each.severity]} file={_escape(each.path, True)},line={each.line},title={_escape(each.rule, True)}"
        f"::{_escape(f'{each.message} {each.fix}'.strip())}"
        for each in problems
    )


def _escape(text: str, in_property: bool = False) -> str:
    pairs = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), *([(":", "%3A"), (",", "%2C")] if in_property else [])]
    for character, code in pairs:
        text = text.replace(character, code)
    return text


def as_sarif(problems: Sequence[Problem], rules: Mapping[str, GlobalRule]) -> str:
    """SARIF 2.1.0: one run, the rules with their pages, a result for each problem; waivers are suppressions."""
    places = {name: index for index, name in enumerate(rules)}
    run = {
        "tool": {"driver": {"name": "mesh check", "rules": [_descriptor(rule) for rule in rules.values()]}},
        "results": [_result(each, places) for each in problems],
        "columnKind": "unicodeCodePoints",
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=1, ensure_ascii=False)


def _descriptor(rule: GlobalRule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.text},
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(problem: Problem, places: Mapping[str, int]) -> dict[str, Any]:
    # The line may move while a problem stays, so it is not part of the fingerprint.
    fingerprint = hashlib.sha256(f"{problem.rule}|{problem.path}|{problem.message}".encode()).hexdigest()
    result: dict[str, Any] = {
        "ruleId": problem.rule,
        "level": "note" if problem.severity == "waived" else problem.severity,
        "message": {"text": f"{problem.message} {problem.fix}".strip()},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(problem.path)},
                    "region": {"startLine": problem.line},
                }
            }
        ],
        "partialFingerprints": {"problem/v1": fingerprint},
    }
    if problem.rule in places:
        result["ruleIndex"] = places[problem.rule]
    if problem.severity == "waived":
        result["suppressions"] = [{"kind": "inSource", "justification": problem.fix}]
    return result


FORMATS: Mapping[str, Callable[[Sequence[Problem], Mapping[str, GlobalRule]], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "github": as_github,
}
