"""Rules of files: they are valid, and what is derived from them is current."""

from __future__ import annotations

from collections.abc import Iterable

from mesh_platform.errors import MeshError, Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope
from mesh_platform.scaffold.new import template_drift


@rule(waivable=False)
def contract(scope: Scope) -> Iterable[Problem]:
    """A contract is valid by the Open Data Contract Standard, and has all that the platform derives things from.

    docs/contracts.md has the required parts, and the table of what the platform adds to the standard.
    """
    return scope.of_rule("contract")


@rule(waivable=False)
def domain_files(scope: Scope) -> Iterable[Problem]:
    """`domain.yaml`, `owners.yaml` and a domain's other YAML files are valid, with known keys.

    The others are `glossary.yaml`, `waivers.yaml`, `consents.yaml` and `parity.yaml`.
    """
    return scope.of_rule("domain-files")


@rule(waivable=False)
def one_of_a_name(scope: Scope) -> Iterable[Problem]:
    """No two products of a domain have the same table, and no two domains the same warehouse.

    A name must identify one thing.
    """
    return scope.of_rule("one-of-a-name")


@rule(waivable=False)
def one_source(scope: Scope) -> Iterable[Problem]:
    """The rows of a product come from one place: its SQL in `models/`, or its CSV in `reference/`."""
    return scope.of_rule("one-source")


@rule()
def no_stray_file(scope: Scope) -> Iterable[Problem]:
    """Each file in `contracts/`, `interfaces/`, `models/`, `reference/` and `producers/` has a reader.

    A contract with a misspelt file extension, or SQL that no contract names, would be ignored silently.
    """
    endings: dict[str, tuple[str, ...]] = {
        "contracts": (".odcs.yaml",),
        "interfaces": (".odcs.yaml",),
        "models": (".sql",),
    }
    endings |= {"reference": (".csv",), "producers": (".py", ".csv")}
    for domain in scope.mesh.domains.values():
        tables = {c.table.name for c in (*domain.contracts.values(), *domain.retired.values())}
        unread = {name.partition(".")[2] for name in scope.mesh.unread if name.startswith(f"{domain.name}.")}
        for folder, allowed in endings.items():
            for path in scope.files(domain, f"{folder}/**/*"):
                label = scope.path(domain, str(path.relative_to(domain.folder)))
                if path.name.startswith(".") or "__pycache__" in path.parts:
                    continue
                if path.parent != domain.folder / folder:
                    fix = f"Move it up into {folder}/."
                    yield Problem(label, 1, "nothing reads files in subfolders.", fix)
                elif not path.name.endswith(allowed):
                    fix = f"Rename it; what is read here ends in {' or '.join(allowed)}."
                    yield Problem(label, 1, "nothing reads a file of this name.", fix)
                elif folder in ("models", "reference") and path.stem not in tables | unread:
                    fix = f"Write contracts/{path.stem}.odcs.yaml, or remove the file."
                    yield Problem(label, 1, f"no contract of {domain.name} has a table '{path.stem}'.", fix)


@rule()
def template_current(scope: Scope) -> Iterable[Problem]:
    """The files of a domain that the template owns are equal to those of the template.

    So a fix in the template reaches every domain. `mesh template status` has details, `mesh template sync` fixes it.
    """
    try:
        return template_drift(scope.mesh)
    except MeshError as error:
        return [Problem("templates/domain", 1, "cannot be rendered.", str(error))]


@rule(waivable=False)
def waiver(scope: Scope) -> Iterable[Problem]:
    """A waiver names a rule that can be waived and is broken there, and ends within a year.

    A domain writes it into `waivers.yaml`: rule, file, reason, owner, until, and `names` for one column of several. A
    waiver that has ended, or that nothing needs any more, is a problem of its own. All are listed in the report.
    """
    # `apply_waivers` finds these problems, because they depend on the problems that are waived.
    return ()
