"""Creating domains and products from the repository's templates: the result is valid, or all problems are raised.

`templates/domain/domain_answers.py` has the rules and renders; it also works without this package. This module also
tells how far a domain has drifted from the template; `sync` updates it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from mesh_platform import faults
from mesh_platform.contract.reader import SUFFIX
from mesh_platform.contract.reading import NAME
from mesh_platform.errors import ContractError, Problem, UsageError
from mesh_platform.mesh.mesh import Domain, Mesh, Owners, domain_folders, find_unreachable, load_mesh
from mesh_platform.scaffold.fields import read_fields
from mesh_platform.scaffold.own_product import OwnProduct
from mesh_platform.scaffold.template_version import (
    RECORD,
    Templates,
    changed_record,
    conflict_line,
    read_record,
    short,
)
from mesh_platform.scaffold.workplace import open_workplace
from mesh_platform.text import shown


def propose_answers(root: Path, name: str, given: Mapping[str, str | None]) -> dict[str, str]:
    """All answers for a new domain: those given (not None), and the defaults of the template for the others.

    The keys are those of templates/domain/cookiecutter.json. A domain without a site sends no events by default.
    """
    with Templates(root) as templates:
        answers: dict[str, str] = templates.today.module.propose()
    answers |= {key: value for key, value in given.items() if value is not None} | {"domain": name}
    if given.get("events") is None and answers["kind"] != "source-aligned":
        answers["events"] = "none"
    return answers


def check_answers(root: Path, answers: Mapping[str, str]) -> None:
    """Raise UsageError with every problem of the answers for a new domain, if they have any."""
    with Templates(root) as templates:
        problems: list[str] = templates.today.module.find_problems(answers)
    # Empty answers are filled, or were reported, by the template.
    owners = {key: answers[key] for key in Owners.model_fields if answers[key].strip()}
    problems += [f"{message} {fix}" for _, message, fix in find_unreachable(owners)]
    # Only a valid name may be used as a path.
    if not problems and (target := root / "domains" / answers["domain"]).exists():
        problems.append(f"{shown(target, root)} exists already. Choose another name, or use 'mesh new product'.")
    if problems:
        raise UsageError("\n".join(problems))


def new_domain(root: Path, answers: Mapping[str, str]) -> Path:
    """Create a folder below `root`/domains from the template and the answers of `propose_answers`; return it.

    `events` has names of folders in templates/lines, separated by commas, or is `none`. Raises UsageError with every
    problem of the answers, and ContractError where the mesh already has faults; no file is left then.
    """
    target = root / "domains" / answers["domain"]
    with Templates(root) as templates, open_workplace(root) as place:
        check_answers(root, answers)
        load_mesh(root)
        rendered = templates.today.module.render_domain(answers, _trial(root, place))
        _check_trial(place, f"{shown(target, root)} was not made; with it the mesh has faults")
        templates.keep()
        try:
            rendered.rename(target)
        except OSError as error:
            raise UsageError(f"{shown(target, root)} appeared meanwhile. Look whose it is.") from error
    return target


def keep_template(root: Path) -> str:
    """Store the present template in git for later syncs; return a warning where other clones will not have it."""
    with Templates(root) as templates:
        return templates.keep()


def list_lines(root: Path) -> list[str]:
    """The names of the events that have a template."""
    with Templates(root) as templates:
        lines: list[str] = templates.today.module.list_lines()
        return lines


def new_product(root: Path, domain: str, line: str) -> list[Path]:
    """Add the files for the event `line` of templates/lines to a domain; return them.

    Files that already exist with the same content are those of a call that was killed; the missing ones are added.
    Raises UsageError where the domain is unknown, its kind or currency does not fit, it already has the event, or a
    different file exists, and ContractError where the mesh already has faults; nothing is written then.
    """
    with Templates(root) as templates, open_workplace(root) as place:
        template = templates.today.module
        found = load_mesh(root).domain(domain)
        problems: list[str] = template.find_line_problems(line, found.kind, _currency(found))
        if line not in template.list_lines():
            problems.append("An event of your own takes its fields: --fields id:string,at:timestamptz.")
        if problems:
            raise UsageError("\n".join(problems))
        record = read_record(found.folder, root)
        if isinstance(record, Problem):
            raise ContractError([record])
        events = template.split_events(record.answers["events"]) if record else []
        if line in events:
            _refuse_existing(f"event '{line}' in {shown(found.folder / RECORD, root)}")
        template.render_line(line, domain, place)
        names = _add_files(root, found.folder, place, line)
        if record:
            (place / RECORD).write_bytes(changed_record(found.folder, events=",".join([*events, line])))
            faults.point("template.writing")
            (place / RECORD).replace(found.folder / RECORD)
    return sorted(found.folder / name for name in names)


# The problems that the rules of the mesh find in the domain of that name, in the mesh at a path.
CheckRules = Callable[[Path, str], list[str]]


def new_own_product(
    root: Path, domain: str, event: str, fields: str, is_personal: Callable[[str], bool], check_rules: CheckRules
) -> OwnProduct:
    """Add the files for an event of one's own to a domain: of no template, with `fields` as `read_fields` takes them.

    The product is called as the event, without `_event` at the end. `is_personal` tells from its name whether a
    field has personal data. A second call after one that was killed finishes its work, as of `new_product`. Raises
    as it does, and UsageError where a rule refuses the product.
    """
    with Templates(root) as templates, open_workplace(root) as place:
        template = templates.today.module
        found = load_mesh(root).domain(domain)
        product = event.removesuffix("_event")
        if event in template.list_lines():
            raise UsageError(f"event '{event}' has a template, which knows its fields. Leave --fields out.")
        if not NAME.fullmatch(product) or len(product) > template.LONGEST_NAME:
            raise UsageError(
                f"event {event!r} is not a name. Use small letters, digits and single underscores, a letter first, "
                f"{template.LONGEST_NAME} at most, such as pallet_scan."
            )
        if product in template.SQL_WORDS | template.YAML_WORDS:
            raise UsageError(f"event '{event}' is a word of SQL's or YAML's. Choose another, such as {product}_scan.")
        parsed = read_fields(fields, _currency(found))
        contract = found.folder / "contracts" / f"{product}{SUFFIX}"
        if contract.exists():
            _refuse_existing(shown(contract, root))
        own = OwnProduct(
            domain,
            product,
            f"{product}_event",
            parsed,
            {field.name for field in parsed if is_personal(field.name)},
            found.site.time_zone if found.site else None,
            template.SQL_WORDS,
            template.YAML_WORDS,
        )
        own.write(place / domain)
        _add_files(root, found.folder, place, event, check_rules)
    return own


def _currency(domain: Domain) -> str:
    return domain.site.currency if domain.site else "USD"


def _refuse_existing(what: str) -> NoReturn:
    raise UsageError(f"{what}: already exists. Rename it, or write the product by hand.")


def _add_files(
    root: Path, folder: Path, place: Path, what: str, check_rules: CheckRules = lambda place, domain: []
) -> list[Path]:
    """Move the files that were rendered in `place` into a domain's folder; return their names.

    Before, the mesh is tried with them. Raises UsageError where it has faults, or a different file exists.
    """
    rendered = place / folder.name
    # The contract is written last, because the other files have no effect without it.
    names = sorted(
        (path.relative_to(rendered) for path in rendered.rglob("*") if path.is_file() and path.suffix != ".pyc"),
        key=lambda name: (name.parts[0] == "contracts", name),
    )
    if existing := [shown(folder / n, root) for n in names if _differs(folder / n, rendered / n)]:
        _refuse_existing(", ".join(existing))
    trial = _trial(root, place, without=folder.name) / folder.name
    shutil.copytree(folder, trial, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(rendered, trial, dirs_exist_ok=True)
    _check_trial(place, f"{folder.name}: nothing was added; with '{what}' the mesh has faults")
    if problems := check_rules(place, folder.name):
        lines = "\n".join(problems)
        raise UsageError(f"{folder.name}: nothing was added; with '{what}' the mesh would break its rules:\n{lines}")
    for name in names:
        faults.point("template.writing")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (rendered / name).replace(folder / name)
    return names


def _differs(path: Path, rendered: Path) -> bool:
    return path.exists() and (not path.is_file() or path.read_bytes() != rendered.read_bytes())


def _trial(root: Path, place: Path, without: str = "") -> Path:
    """A folder `domains` in `place` with links to those of `root`, where additions are validated first."""
    (trial := place / "domains").mkdir()
    for folder in domain_folders(root):
        if folder.name != without:
            (trial / folder.name).symlink_to(folder.resolve())
    return trial


def _check_trial(place: Path, refusal: str) -> None:
    try:
        load_mesh(place)
    except ContractError as error:
        raise UsageError(f"{refusal}:\n{error}") from error


@dataclass(frozen=True)
class Status:
    """How a domain differs from the template. `version` is None where template.yaml does not have it.

    Paths are relative to the domain's folder. `drifted` are files that the template owns and the domain has changed;
    `detached` those taken over on purpose, with the reason; `conflicts` those with unresolved conflict markers.
    `note` says why the recorded version could not be compared.
    """

    domain: str
    version: str | None
    state: str
    problems: list[Problem]
    drifted: list[str] = field(default_factory=list)
    detached: dict[str, str] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    note: str = ""


def template_status(root: Path, folders: Sequence[Path]) -> list[Status]:
    """The status of each of the domain folders. Raises UsageError where there is no template."""
    with Templates(root) as templates:
        return [_status(templates, folder, root) for folder in folders]


def template_drift(mesh: Mesh) -> list[Problem]:
    """The differences of domains from the present template: old versions, and managed files that differ.

    A mesh without templates/ has no such problems.
    """
    if not (mesh.root / "templates" / "domain").is_dir():
        return []
    statuses = template_status(mesh.root, [domain.folder for domain in mesh.domains.values()])
    return [problem for status in statuses for problem in status.problems]


def _status(templates: Templates, folder: Path, root: Path) -> Status:
    record, label = read_record(folder, root), shown(folder / RECORD, root)
    sync = f"Run 'mesh template sync {folder.name}'"
    if record is None:
        problem = Problem(label, 1, "is missing: which template the domain comes from is not known.", f"{sync}.")
        return Status(folder.name, None, "unknown", [problem])
    if isinstance(record, Problem):
        return Status(folder.name, None, "unknown", [record])
    today = templates.today
    problems: list[Problem] = []
    template = templates.find(record.version)
    if behind := record.version != today.version:
        message = f"the domain is at template {short(record.version)}; today's is {short(today.version)}."
        problems.append(Problem(label, record.line, message, f"{sync}."))
    note = template if isinstance(template, str) else ""
    drifted = []
    for name, text in (today if isinstance(template, str) else template).managed(record.answers).items():
        if name not in record.detached and (drift := _drift(folder / name, text, root, sync)):
            drifted.append(name)
            problems.append(drift)
    conflicts = _conflicts(folder, root)
    problems += conflicts.values()
    state = "behind" if behind else "today"
    return Status(folder.name, record.version, state, problems, drifted, dict(record.detached), list(conflicts), note)


def _conflicts(folder: Path, root: Path) -> dict[str, Problem]:
    fix = "Choose between its marks (<<<<<<<, =======, >>>>>>>), and remove them."
    found = {}
    for path in sorted(folder.rglob("*")):
        # Files written by people are small.
        if path.is_file() and path.stat().st_size < 1_000_000 and (line := conflict_line(path.read_bytes())):
            problem = Problem(shown(path, root), line, "holds a conflict that nobody has resolved.", fix)
            found[path.relative_to(folder).as_posix()] = problem
    return found


def _drift(path: Path, wanted: str, root: Path, sync: str) -> Problem | None:
    label = shown(path, root)
    if not path.is_file():
        fix = f"{sync}, which writes it; or name it under 'detached' in {RECORD}, with the reason."
        return Problem(label, 1, "is missing; the template has it.", fix)
    if (found := path.read_text(encoding="utf-8", errors="replace")) == wanted:
        return None
    fix = (
        "Move what is your own into a file beside it and remove this one. "
        f"{sync}, which writes it anew; or name it under 'detached' in {RECORD}, with the reason."
    )
    return Problem(label, first_difference(found, wanted), "is not as the template has it.", fix)


def first_difference(found: str, wanted: str) -> int:
    """The first line in which two texts differ."""
    lines, others = found.splitlines(), wanted.splitlines()
    same = (a == b for a, b in zip(lines, others, strict=False))
    return next((number for number, equal in enumerate(same, start=1) if not equal), min(len(lines), len(others)) + 1)
