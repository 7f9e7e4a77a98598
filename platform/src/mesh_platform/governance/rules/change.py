"""Rules of change: the next version of a contract surprises nobody who relies on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mesh_platform.contract.contract import Contract
from mesh_platform.contract.version import Version, parse_version
from mesh_platform.errors import Problem
from mesh_platform.governance.change.assessment import Assessed
from mesh_platform.governance.change.base import NoBase
from mesh_platform.governance.change.difference import Difference
from mesh_platform.governance.consents import find_stale, how_to_give
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope

# The number of reasons in a message; `mesh diff` shows all.
_SHOWN = 3


@rule(waivable=False)
def change(scope: Scope) -> Iterable[Problem]:
    """A changed contract has the version that its change requires, and breaks only readers that have consented.

    Contracts are compared with git: with the commit where the work left the main branch, on main with the last
    commit, or with the commit where it left `--base REV`. A difference is breaking, additive or cosmetic, and
    requires the next major, minor or patch version; below 1.0.0, where majors do not count, a breaking one requires
    the next minor. A higher version is allowed, since people know of changes that no file shows. A version must not
    go up while neither the contract nor its SQL or CSV changed, and must not go back. 1.0.0 may be declared at any
    time.

    | what changes | for readers of the table | for producers of the event |
    |---|---|---|
    | a column is dropped, or its type does not hold every value | breaking | breaking |
    | a column is renamed, with `mesh.renamedFrom` | breaking | additive |
    | an optional new column; a wider type (`int` to `long`, more digits) | additive (*) | additive |
    | a new required column; a column that becomes required | breaking: existing rows may lack it | breaking |
    | a required column may be missing | breaking | additive |
    | the primary key; `mesh.history` | breaking; a first key: additive | |
    | `mesh.partition` | additive | breaking: events are never rewritten |
    | bounds, patterns and valid values that allow more | breaking | additive |
    | bounds, patterns and valid values that allow less | additive | breaking |
    | a rule of `quality` that blocks or quarantines is removed, only warns, or requires something else | breaking | |
    | a new rule; any change of a rule that only warned | additive | |
    | a column becomes `pii`; a reference to a dimension is removed or changed | breaking | additive |
    | other classifications, a first reference | additive | additive |
    | freshness, latency, accuracy, retention or time travel get worse, are removed, or change column | breaking | |
    | they get better, or are promised for the first time | additive | |
    | a contract with personal data loses a role; a lower level; `mesh.implements` is removed | breaking | |
    | an additional role, a higher level, another `mesh.demands` | additive | |
    | `mesh.implements` is added, or another product of the domain takes over | additive | |
    | the event, its name or its `mesh.eventTime` is removed or changed | | breaking |
    | what ids are made of: the name of a column in them, `mesh.fileInIds` | | breaking |
    | `mesh.oldestVersion` rejects versions that were accepted; a `mesh.dropped` column is removed | | breaking |
    | it accepts versions that were rejected; a column of old files is kept with `mesh.dropped` | | additive |
    | local times that were rejected are accepted, by `mesh.ambiguousTime` or `mesh.nonexistentTime` | | additive |
    | local times are now rejected, or read as another instant | | breaking |
    | the product is removed, or `status: retired` | breaking | |
    | descriptions, examples, terms, tags, other statuses, `mesh.maintain`, order of columns | cosmetic | cosmetic |
    | `deprecated`, `synonyms`; `enum` instead of the same valid values in a rule | cosmetic | cosmetic |
    | `apiVersion`, the version of ODCS that the file is written in | no change | no change |

    (*) It is breaking if SQL fails with it that worked with the old contract: a `select *` returns an additional
    column, a name becomes ambiguous, a sum has a wider type.

    In an interface a new column may be required: its implementations must have it anyway, by the rule `interface`.

    A change that breaks readers requires one of these:

    - The old version next to it: a product `<table>_v<n>` of the domain still has all the old promises. This is also
      the only way for changes that no existing table can take; docs/evolution.md shows it.
    - The consent of every other domain that reads the product, by its models, through a union that has the broken
      column, or by its dashboards. It is in that domain's folder, in `consents.yaml`:

      ```yaml
      consents:
        - {product: north.orders, version: 2.0.0, by: A. Reader, date: 2026-03-01, reason: We read order_ts now.}
      ```

      The version is the breaking one; the consent is valid until the next breaking version.

    Removing a product needs no consent: SQL that reads it fails, which the rule `sql` reports, and no consent would
    help. But if its rows were part of a union, the readers of the union must consent, unless another product of the
    domain takes its place.

    Contracts that are unreadable at the base or now are not compared. No waiver applies, as the rule protects others.
    """
    for contract in scope.contracts():
        if parse_version(contract.version) is None:
            message = f"version is '{contract.version}'."
            yield Problem(contract.path, _line(scope, contract), message, "Write three numbers: 1.0.0.")
    try:
        assessed = scope.assessed
    except NoBase as error:
        yield Problem("domains", 1, "the changes cannot be determined.", str(error))
        return
    for each in assessed:
        yield from _version_problems(scope, each)
        yield from _consent_problems(scope, each)
        yield from _dashboard_problems(scope, each)


@rule("warning")
def consent(scope: Scope) -> Iterable[Problem]:
    """A consent has an effect: it is for the present or the next version of a product that the domain reads.

    Others should be removed from `consents.yaml`: consents to products that are gone or no longer read, to versions
    that the product has left behind, and to versions that did not come within a year.
    """
    given, _ = scope.consents
    if not given:
        return
    published = {each.identifier: each for each in scope.mesh.contracts.values()}
    published |= {view: interface for view, (interface, _) in scope.consumers.interfaces.items()}
    named = {
        each.consent.product: published[each.consent.product] for each in given if each.consent.product in published
    }
    versions = {name: contract.version for name, contract in named.items()}
    everything: frozenset[str | None] = frozenset({None})
    read_by = {name: {*scope.consumers.domains(name, each.domain, everything)} for name, each in named.items()}
    try:
        gone = {each.change.relation for each in scope.assessed if each.change.is_gone}
    except NoBase:
        gone = set()
    yield from find_stale((g for g in given if g.consent.product not in gone), versions, read_by, scope.today)


def _version_problems(scope: Scope, assessed: Assessed) -> Iterator[Problem]:
    old, new = assessed.change.old, assessed.change.new
    before, now = (parse_version(each.version) if each else None for each in (old, new))
    least = assessed.least_version
    if old is None or new is None or before is None or now is None or least is None:
        return
    line = _line(scope, new)
    if now < before:
        message = f"version goes back from {before} to {now}."
        yield Problem(new.path, line, message, f"Write {least}, or a higher one.")
    elif now < least:
        follows = "stays" if now == before else f"follows {before}"
        message = f"version {now} {follows}, and the change is {_summary(assessed)}."
        yield Problem(new.path, line, message, f"Write version: {least}, or undo it. `mesh diff` shows all of it.")
    elif now > before and assessed.kind is None and not _has_reason(scope, assessed):
        message = f"version goes from {before} to {now}, and nothing changed."
        yield Problem(new.path, line, message, f"Write version: {before}.")


def _has_reason(scope: Scope, assessed: Assessed) -> bool:
    """Whether the version may go up without a change of the contract."""
    contract = assessed.change.contract
    if (assessed.change.old or contract).version.startswith("0.") and contract.version == "1.0.0":
        return True
    files = (f"models/{contract.table.name}.sql", f"reference/{contract.table.name}.csv")
    return any(scope.changes.touched(scope.path(scope.mesh.domains[contract.domain], name)) for name in files)


def _consent_problems(scope: Scope, assessed: Assessed) -> Iterator[Problem]:
    version = assessed.consent_to
    for needed in assessed.consents:
        if needed.given is None and version is not None:
            contract, relation = assessed.change.contract, assessed.change.relation
            breaking = assessed.breaks_for_readers
            by = ", ".join(needed.by[:_SHOWN]) + (
                f" and {len(needed.by) - _SHOWN} more" if needed.by[_SHOWN:] else ""
            )
            message = f"{relation} breaks for '{needed.domain}', which reads it ({by}): {_reasons(breaking)}."
            how = how_to_give(scope.mesh.domains[needed.domain], relation, version, scope.today)
            fix = f"{_other_way(scope, assessed, version)}, or {how}."
            yield Problem(contract.path, max(breaking[0].line, 1), message, fix)


def _other_way(scope: Scope, assessed: Assessed, version: Version) -> str:
    change = assessed.change
    if change.is_gone:
        return f"Let another product of {change.contract.domain} implement {change.contract.implements}"
    name = change.contract.name if change.is_interface else change.contract.table.name
    mark = ".v" if change.is_interface else "_v"
    # Below 1.0.0 no version had a number in its name: the present one is the first.
    successor = f"{name.partition(mark)[0]}{mark}{max(version.major, 2)}"
    domain = scope.mesh.domains[change.contract.domain]
    if successor in (domain.interfaces if change.is_interface else domain.contracts):
        return f"Undo it here, since {successor} exists for it"
    return f"Undo it here and publish it as {successor} next to this one (docs/evolution.md)"


def _dashboard_problems(scope: Scope, assessed: Assessed) -> Iterator[Problem]:
    change = assessed.change
    if change.is_gone:
        for _, path in scope.consumers.dashboards(change.relation):
            message = f"shows {change.relation}, which is no longer published."
            yield Problem(path, 1, message, f"Change it, or publish {change.relation} again.")


def _summary(assessed: Assessed) -> str:
    of_kind = [each for each in assessed.differences if each.kind == assessed.kind]
    return f"{assessed.kind}: {_reasons(of_kind)}"


def _reasons(differences: list[Difference]) -> str:
    reasons = list(dict.fromkeys(each.reason for each in differences))
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return "; ".join(reasons[:_SHOWN]) + more


def _line(scope: Scope, contract: Contract) -> int:
    """The line of the contract's version."""
    try:
        lines = (scope.mesh.root / contract.path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return 1
    return next((number for number, line in enumerate(lines, start=1) if line.startswith("version:")), 1)
