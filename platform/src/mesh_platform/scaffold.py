"""New domains and products from the repository's templates: answers arrive, a valid folder leaves, or all problems.

`templates/domain/domain_answers.py` holds the rules and renders; it works without this package too.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mesh_platform.domain import Domain, Mesh, load_mesh
from mesh_platform.errors import ContractError, Problem, UsageError, shown

# The files of a domain's folder that the template owns: the same in each domain but for its name.
MANAGED = ("__init__.py", "dags/{domain}_pipelines.py", "tests/__init__.py", "tests/test_domain.py")


def propose_answers(root: Path, name: str, given: Mapping[str, str | None]) -> dict[str, str]:
    """All answers for a new domain: those given (not None), the rest as the template proposes them.

    The keys are those of templates/domain/cookiecutter.json. A domain without a site sends no events unless asked to.
    """
    answers = _defaults(root) | {key: value for key, value in given.items() if value is not None} | {"domain": name}
    if given.get("events") is None and answers["kind"] != "source-aligned":
        answers["events"] = "none"
    return answers


def new_domain(root: Path, answers: Mapping[str, str]) -> Path:
    """Make a folder below `root`/domains from the template and the answers of `propose_answers`; the folder made.

    `events` are names of folders in templates/lines with commas between them, or `none`. Raises UsageError with every
    problem of the answers, and ContractError where the mesh has faults already; nothing is left then.
    """
    template = _load_template(root)
    name = answers["domain"]
    problems: list[str] = template.find_problems(answers)
    # A bad name is not looked up as a path.
    target = root / "domains" / name
    if not problems and target.exists():
        problems.append(f"{shown(target, root)} exists already. Choose another name, or use 'mesh new product'.")
    if problems:
        raise UsageError("\n".join(problems))
    load_mesh(root)
    with _folder_beside(root) as folder:
        rendered = template.render_domain(answers, folder)
        try:
            rendered.rename(target)
        except OSError as error:
            raise UsageError(f"{shown(target, root)} appeared meanwhile. Look whose it is.") from error
    try:
        load_mesh(root)
    except ContractError as error:
        shutil.rmtree(target)
        raise UsageError(f"{shown(target, root)} was not made; with it the mesh has faults:\n{error}") from error
    return target


def new_product(root: Path, domain: str, line: str) -> list[Path]:
    """Add to a domain what the event `line` of templates/lines needs; the files made.

    Raises UsageError where the domain is unknown, where its kind or currency does not fit, or where a file stands
    already, and ContractError where the mesh has faults already; nothing is left then.
    """
    template = _load_template(root)
    found = load_mesh(root).domain(domain)
    problems: list[str] = template.find_line_problems(line, found.kind, found.site.currency if found.site else "USD")
    if problems:
        raise UsageError("\n".join(problems))
    with _folder_beside(root) as folder:
        template.render_line(line, domain, folder)
        rendered = folder / domain
        names = sorted(path.relative_to(rendered) for path in rendered.rglob("*") if path.is_file())
        standing = [shown(found.folder / name, root) for name in names if (found.folder / name).exists()]
        if standing:
            raise UsageError(
                f"{', '.join(standing)}: there already. Rename what stands, or write the product by hand."
            )
        made = [found.folder / name for name in names]
        for name, path in zip(names, made, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            (rendered / name).rename(path)
    try:
        load_mesh(root)
    except ContractError as error:
        for path in made:
            path.unlink()
        raise UsageError(f"{domain}: nothing was added; with '{line}' the mesh has faults:\n{error}") from error
    return made


def template_drift(mesh: Mesh) -> list[Problem]:
    """The managed files that are not as the template renders them today."""
    problems = []
    for domain in mesh.domains.values():
        for path, text in _managed_files(mesh, domain).items():
            label = shown(path, mesh.root)
            fix = f"Run 'mesh template sync {domain.name}'; a test of the domain's own goes into a file of its own."
            if not path.is_file():
                problems.append(Problem(label, 1, "is missing; the template has it.", fix))
            elif (found := path.read_text(encoding="utf-8", errors="replace")) != text:
                problems.append(Problem(label, _first_difference(found, text), "is not as the template has it.", fix))
    return problems


def sync_template(mesh: Mesh, domain: str) -> list[Path]:
    """Write the managed files of a domain as the template has them; those that changed."""
    changed = []
    for path, text in _managed_files(mesh, mesh.domain(domain)).items():
        if not path.is_file() or path.read_bytes() != text.encode():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def _managed_files(mesh: Mesh, domain: Domain) -> dict[Path, str]:
    template = _load_template(mesh.root)
    answers = _defaults(mesh.root) | {"domain": domain.name, "kind": domain.kind, "events": "none"}
    with tempfile.TemporaryDirectory() as folder:
        rendered: Path = template.render_domain(answers, Path(folder))
        names = [name.format(domain=domain.name) for name in MANAGED]
        return {domain.folder / name: (rendered / name).read_text(encoding="utf-8") for name in names}


def _first_difference(found: str, wanted: str) -> int:
    lines, others = found.splitlines(), wanted.splitlines()
    same = (a == b for a, b in zip(lines, others, strict=False))
    return next((number for number, equal in enumerate(same, start=1) if not equal), min(len(lines), len(others)) + 1)


def _load_template(root: Path) -> Any:
    path = root / "templates" / "domain" / "domain_answers.py"
    spec = importlib.util.spec_from_file_location("_domain_answers", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"{shown(path, root)}: there is no such file. New domains need the repository's templates.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _defaults(root: Path) -> dict[str, str]:
    """What the template proposes for each answer."""
    proposed = json.loads((root / "templates" / "domain" / "cookiecutter.json").read_text(encoding="utf-8"))
    # Of a list the first is proposed, as cookiecutter has it.
    return {
        key: value[0] if isinstance(value, list) else value
        for key, value in proposed.items()
        if not key.startswith("_")
    }


@contextmanager
def _folder_beside(root: Path) -> Iterator[Path]:
    """A folder on the same disk as the domains, whose name load_mesh passes over; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=root / "domains") as folder:
        yield Path(folder)
