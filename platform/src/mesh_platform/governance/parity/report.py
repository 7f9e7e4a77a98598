"""Report what `compare_models` finds: as rows, as JSON, and as the page docs/parity.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mesh_platform.governance.parity.compare import Finding

_HEAD = """# Engine parity

<!-- `make parity` writes this page. -->

Models are written in DuckDB's SQL. `mesh parity` also runs each of them on Spark, by Spark Connect, and compares the
rows: so a team knows whether Spark can [build](operations.md#builds-on-spark) it when one machine no longer suffices.
By default it starts Sail, a server of Spark Connect that needs no Java; `MESH_SPARK_REMOTE` names another server.

It runs each model on two kinds of rows. **Edge** rows are generated: up to 1,000 for each relation, with values at
the edges of each type that the contract allows, such as the smallest decimal, the year 9999, local times that a clock
shows twice, missing values, and text of several scripts. **Lake** rows are those of the tables; this page is about
three days of ACME. Rows are equal if SQL finds no difference, in any order; 0.0 equals -0.0, and NaN equals NaN.

| verdict | meaning |
|---|---|
| equal | both return the same rows, or both refuse the row |
| empty | both return no row, which is a fault for edge rows |
| tolerated | doubles differ by no more than the named tolerance |
| expected | they differ, and `parity.yaml` of the domain gives the reason |
| new | they differ, and nobody expects it: the run fails |
| cured | an expected difference is gone: the run fails until its entry is removed |

"""


def as_value(finding: Finding) -> dict[str, Any]:
    """Return a finding for programs."""
    expectation = finding.expected.expectation if finding.expected else None
    return {
        "table": finding.table,
        "source": finding.source,
        "verdict": finding.verdict,
        "rows": finding.rows,
        "refused": finding.refused,
        "kind": finding.kind,
        "details": finding.details,
        "expected": expectation.expected if expectation else None,
        "reason": expectation.reason if expectation else None,
    }


def as_row(finding: Finding) -> dict[str, Any]:
    """Return a finding as a row of a table for people."""
    return {name: as_value(finding)[name] for name in ("table", "source", "verdict", "rows", "refused")}


def parity_page(findings: Sequence[Finding]) -> str:
    """Return the report in Markdown. It has no rows and no counts, which change with the lake."""
    verdicts = {(finding.table, finding.source): finding.verdict for finding in findings}
    tables = sorted({finding.table for finding in findings})
    lines = [
        f"| {table} | {' | '.join(verdicts.get((table, s), '-') for s in ('edge', 'lake'))} |" for table in tables
    ]
    page = _HEAD + "## Models\n\n| model | edge | lake |\n|---|---|---|\n" + "".join(f"{line}\n" for line in lines)
    if reasons := [*_reasons(findings)]:
        page += "\n## Expected differences\n\n" + "\n".join(reasons) + "\n"
    return page


def _reasons(findings: Iterable[Finding]) -> Iterable[str]:
    words = {
        "spark": "Spark alone refuses it",
        "duckdb": "DuckDB alone refuses rows that Spark takes",
        "rows": "the rows differ",
    }
    for finding in findings:
        if finding.expected:
            entry = finding.expected.expectation
            where = f"`{finding.table}`, {finding.source}"
            yield f"- {where}: {words[entry.kind]}. Mended: {entry.expected}. {entry.reason}"
