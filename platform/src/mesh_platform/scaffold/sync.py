"""Updating domains to the present template, by merging the template's changes into their files.

Each file is merged from three sides: as the version in template.yaml renders it, as the domain has it, and as the
present template renders it. All files are merged before any is written; template.yaml is written last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from mesh_platform import faults
from mesh_platform.contract.yaml_document import read_document
from mesh_platform.errors import AttentionError, ContractError, Problem, UsageError
from mesh_platform.mesh.mesh import domain_folders
from mesh_platform.scaffold.git import merge
from mesh_platform.scaffold.template_version import (
    RECORD,
    File,
    Record,
    Templates,
    changed_record,
    conflict_line,
    read_record,
    short,
)
from mesh_platform.scaffold.workplace import open_workplace
from mesh_platform.text import offer

# Exists while files are written: the version that they are updated to, and the hash that each will have.
JOURNAL = ".template-sync.json"


@dataclass
class Outcome:
    """The result of a sync for one domain; paths are relative to its folder.

    `came_from` is None for a domain without template.yaml. `kept` has the reason for each file whose template change
    was not applied. Where `unresolved` names files with earlier conflict markers, nothing was done. `note` says why
    there was no version to compare with. `files` are those to write, `hashes` those that an earlier, killed sync has
    already updated.
    """

    domain: str
    came_from: str | None
    to: str | None
    conflicts: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    note: str = ""
    files: dict[str, File] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> list[str]:
        """The files that were written without a conflict."""
        return [name for name in self.files if name not in self.conflicts]


def sync_domains(root: Path, names: Sequence[str] = ()) -> tuple[list[Outcome], str]:
    """Update domains (default: all) to the present template.

    Returns the outcome of each, and a warning where other clones will not have the present version. Raises
    UsageError, ContractError with the faults of all template.yaml, and AttentionError where the template cannot be
    rendered; nothing is written then.
    """
    folders = find_folders(root, names)
    with Templates(root) as templates, open_workplace(root) as place:
        records = _read_records(templates, folders, root)
        outcomes = [_merge_domain(templates, folder, record, place) for folder, record in records.items()]
        note = templates.keep() if any(outcome.came_from != outcome.to for outcome in outcomes) else ""
        for folder, outcome in zip(folders, outcomes, strict=True):
            _write(folder, records[folder], outcome, templates, place)
    return outcomes, note


def find_folders(root: Path, names: Sequence[str] = ()) -> list[Path]:
    """The folders of the named domains (default: all). Raises UsageError, which suggests similar names."""
    folders = {folder.name: folder for folder in domain_folders(root)}
    for name in names:
        if name not in folders:
            raise UsageError(f"{name}: no such domain. {offer(name, folders)}")
    return [folders[name] for name in names or folders]


def _read_records(templates: Templates, folders: Sequence[Path], root: Path) -> dict[Path, Record]:
    records: dict[Path, Record] = {}
    problems = []
    for folder in folders:
        record = read_record(folder, root) or _new_record(templates, folder, root)
        if isinstance(record, Problem):
            problems.append(record)
        else:
            records[folder] = record
    if problems:
        raise ContractError(problems)
    return records


def _new_record(templates: Templates, folder: Path, root: Path) -> Record | Problem:
    """The template.yaml of a folder that lacks it, as if the domain came from the present template."""
    known: dict[str, str] = {}
    for name in ("domain.yaml", "owners.yaml"):
        document = read_document(folder / name, root)
        if isinstance(document, Problem):
            return document
        data = document.data if isinstance(document.data, dict) else {}
        site = data["site"] if isinstance(data.get("site"), dict) else {}
        known |= {key: str(value) for key, value in {**data, **site}.items()}
    today = templates.today
    lines = today.module.list_lines()
    answers = today.module.propose() | {key: known[key] for key in today.module.propose() if key in known}
    answers |= {"domain": folder.name}
    sent = [line for line in lines if _has_line(templates, folder, answers, line)]
    return Record(version=today.version, answers=answers | {"events": ",".join(sent) or "none"})


def _has_line(templates: Templates, folder: Path, answers: Mapping[str, str], line: str) -> bool:
    files = templates.today.render({**answers, "events": line})
    return any(name.startswith("contracts/") and (folder / name).exists() for name in files)


def _merge_domain(templates: Templates, folder: Path, record: Record, place: Path) -> Outcome:
    today = templates.today
    outcome = Outcome(folder.name, record.version if (folder / RECORD).exists() else None, today.version)
    theirs = today.render(record.answers)
    base = _base(templates, record, theirs, outcome)
    midway, hashes = _read_journal(templates, folder, record)
    moves = outcome.came_from != outcome.to
    labels = ("domain", f"template {short(record.version)}", f"template {short(today.version)}")
    for name in sorted({*base, *theirs} - {RECORD}):
        if not _is_plain(folder, name):
            outcome.kept |= {name: "no plain file here"} if moves else {}
            continue
        mine = (folder / name).read_bytes() if (folder / name).exists() else None
        # A killed sync has already updated this file to its version.
        done = mine is not None and sha256(mine).hexdigest() == hashes.get(name)
        outcome.hashes |= {name: hashes[name]} if done else {}
        was, wanted = _bodies((midway if done else base).get(name), theirs.get(name), mine)
        if name in record.detached:
            if was != wanted:
                outcome.kept[name] = f"detached: {record.detached[name]}"
        elif mine is None:
            if wanted is not None and (was is None or name in today.managed(record.answers)):
                outcome.files[name] = theirs[name]
            elif wanted is not None and moves:
                outcome.kept[name] = "deleted here"
        elif conflict_line(mine) and not (wanted and conflict_line(wanted)):
            (outcome.conflicts if done and was == wanted else outcome.unresolved).append(name)
        elif was == wanted or mine == wanted:
            continue
        elif wanted is None:
            if mine == was:
                outcome.deleted.append(name)
            else:
                outcome.kept[name] = "changed here; the template has it no more"
        else:
            body, met = (wanted, False) if mine == was else merge(place, mine, was or b"", wanted, labels)
            outcome.files[name] = File(body, (folder / name).stat().st_mode)
            if met:
                outcome.conflicts.append(name)
    return outcome


def _base(templates: Templates, record: Record, theirs: dict[str, File], outcome: Outcome) -> dict[str, File]:
    """The files that the recorded version renders; none, and a note with the reason, where it is unavailable."""
    if record.version == templates.today.version:
        return theirs
    template = templates.find(record.version)
    try:
        if not isinstance(template, str):
            return template.render(_shared(templates, record))
        outcome.note = template
    except AttentionError as error:
        outcome.note = str(error)
    return {}


def _shared(templates: Templates, record: Record) -> dict[str, str]:
    # The files of an event that the template no longer has stay: a product in use is not removed.
    known = templates.today.module.list_lines()
    events = [event for event in templates.today.module.split_events(record.answers["events"]) if event in known]
    return {**record.answers, "events": ",".join(events) or "none"}


def _read_journal(templates: Templates, folder: Path, record: Record) -> tuple[dict[str, File], dict[str, str]]:
    """The files as a killed sync renders them, and the hash of each that it may have written."""
    try:
        journal = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
        template = templates.find(journal["version"])
        if isinstance(template, str):
            return {}, {}
        return template.render(_shared(templates, record)), journal["files"]
    except (OSError, ValueError, LookupError, TypeError, AttentionError):
        return {}, {}


def _is_plain(folder: Path, name: str) -> bool:
    """Whether the file can be written without following a link or removing a folder."""
    path = folder / name
    above = [parent for parent in path.parents if folder in parent.parents]
    free = path.is_file() or not path.exists()
    return free and not any(part.is_symlink() for part in (path, *above)) and not any(p.is_file() for p in above)


def _bodies(was: File | None, wanted: File | None, mine: bytes | None) -> list[bytes | None]:
    """The old and the new content from the template, with the line ends of the domain's file."""
    if mine is None or b"\n" not in mine or b"\0" in mine:
        return [file and file.body for file in (was, wanted)]
    end = b"\r\n" if mine.count(b"\r\n") == mine.count(b"\n") else b"\n"
    return [file and file.body.replace(b"\r\n", b"\n").replace(b"\n", end) for file in (was, wanted)]


def _write(folder: Path, record: Record, outcome: Outcome, templates: Templates, place: Path) -> None:
    if outcome.unresolved:
        outcome.to = outcome.came_from
        outcome.files, outcome.deleted, outcome.conflicts, outcome.kept = {}, [], [], {}
        return
    # No domain's name has a dot, nor do the files of a merge.
    ready = place / f"{folder.name}.ready"
    ready.mkdir()
    for number, (name, file) in enumerate(outcome.files.items()):
        (ready / str(number)).write_bytes(file.body)
        (ready / str(number)).chmod(file.mode & 0o777)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if outcome.files or outcome.deleted:
        hashes = outcome.hashes | {name: sha256(file.body).hexdigest() for name, file in outcome.files.items()}
        (ready / JOURNAL).write_text(json.dumps({"version": outcome.to, "files": hashes}), encoding="utf-8")
        (ready / JOURNAL).replace(folder / JOURNAL)
    for number, name in enumerate(outcome.files):
        faults.point("template.writing")
        (ready / str(number)).replace(folder / name)
    for name in outcome.deleted:
        faults.point("template.writing")
        (folder / name).unlink()
    if outcome.to and outcome.came_from != outcome.to:
        new: str = templates.today.module.record_text(record.answers)
        body = changed_record(folder, version=outcome.to) if outcome.came_from else new.encode()
        (ready / RECORD).write_bytes(body)
        faults.point("template.writing")
        os.replace(ready / RECORD, folder / RECORD)
    (folder / JOURNAL).unlink(missing_ok=True)
