"""Versions of the template: loading the version that a domain's template.yaml names.

A version is git's id (tree hash) of the content of templates/. It stays the same when a change is committed, rebased
or squashed, and can be computed without git. The present version is in the folder; earlier ones are read from git.
"""

from __future__ import annotations

import io
import re
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mesh_platform.contract.yaml_document import read_document
from mesh_platform.errors import AttentionError, MeshError, Problem, UsageError
from mesh_platform.mesh.git import git
from mesh_platform.text import shown

RECORD = "template.yaml"
ANSWERS = "domain/domain_answers.py"
_ID = re.compile("[0-9a-f]{40}")
_MARKED = re.compile(rb"^<{7} .*?^={7}\r?$.*?^>{7} ", re.MULTILINE | re.DOTALL)


class Record(BaseModel):
    """The content of a domain's template.yaml. `detached` maps paths in its folder to the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, StringConstraints(pattern=f"^{_ID.pattern}$")]
    answers: dict[str, str]
    detached: dict[str, Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]] = Field(
        default_factory=dict
    )
    line: int = 1


def read_record(folder: Path, root: Path) -> Record | Problem | None:
    """Read the template.yaml of a domain's folder: its record, its problem, or None where the file is missing."""
    if not (folder / RECORD).exists():
        return None
    document = read_document(folder / RECORD, root)
    if isinstance(document, Problem):
        return document
    try:
        record = Record.model_validate(document.data)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"])) or "the file"
        fix = "It has version (40 letters and digits), answers and detached (path: reason), all of them words."
        return document.problem(tuple(detail["loc"]), f"{where}: {detail['msg']}.", fix)
    if record.answers.get("domain") != folder.name:
        message = f"answers.domain is '{record.answers.get('domain')}' in folder '{folder.name}'."
        return document.problem(("answers", "domain"), message, "Make them equal.")
    return record.model_copy(update={"line": document.line(("version",))})


def changed_record(folder: Path, **changes: str) -> bytes:
    """The text of a domain's template.yaml with another version or other events, otherwise unchanged."""
    text = (folder / RECORD).read_bytes().decode()
    wanted = yaml.safe_load(text)
    for key, value in changes.items():
        (wanted if key in wanted else wanted["answers"])[key] = value
        text = re.sub(rf"^( *){key}:[^\r\n]*", rf"\g<1>{key}: '{value}'", text, count=1, flags=re.MULTILINE)
    # The file may be written in another style, in which the replacement has failed.
    same = yaml.safe_load(text) == wanted
    return (text if same else yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True, width=1000)).encode()


def conflict_line(body: bytes) -> int | None:
    """The line of the first unresolved conflict marker of git; None where there is none."""
    found = _MARKED.search(body) if b"<<<<<<< " in body else None
    return body.count(b"\n", 0, found.start()) + 1 if found else None


class File(NamedTuple):
    """The content and the permissions of a file of the template."""

    body: bytes
    mode: int


@dataclass(frozen=True)
class Template:
    """The template of one version. `module` is its domain_answers.py."""

    version: str
    module: Any

    def render(self, given: Mapping[str, str]) -> dict[str, File]:
        """Render a domain with these answers: its files by path. Raises AttentionError where it fails."""
        with self._faults(), tempfile.TemporaryDirectory() as folder:
            top: Path = self.module.render_domain(self._answers(given), Path(folder))
            files = {path.relative_to(top).as_posix(): path for path in top.rglob("*") if path.is_file()}
            return {name: File(files[name].read_bytes(), files[name].stat().st_mode) for name in sorted(files)}

    def managed(self, given: Mapping[str, str]) -> dict[str, str]:
        """The files of such a domain that the template owns: text by path. Raises AttentionError where it fails."""
        with self._faults():
            files: dict[str, str] = self.module.render_managed(self._answers(given))
            return files

    def _answers(self, given: Mapping[str, str]) -> dict[str, str]:
        # Answers that are new in this version get its defaults; events that it does not have are omitted.
        answers: dict[str, str] = {**self.module.propose(), **given}
        known = self.module.list_lines()
        events = [event for event in self.module.split_events(answers["events"]) if event in known]
        return answers | {"events": ",".join(events) or "none"}

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            raise AttentionError(
                f"template {short(self.version)} cannot be rendered. {words} Mend templates/."
            ) from error


class Templates:
    """The templates of a repository: the present one, and earlier ones by version. On exit it removes their files.

    Raises UsageError where there are none, and AttentionError where the present one cannot be loaded.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / "templates"
        answers = self.folder / ANSWERS
        if not answers.is_file():
            raise UsageError(
                f"{shown(answers, root)}: there is no such file. New domains need the repository's templates."
            )
        module = _load(answers)
        self.today = Template(module.tree_id(self.folder), module)
        self._before: dict[str, Template | str] = {self.today.version: self.today}
        self._place = tempfile.TemporaryDirectory()

    def __enter__(self) -> Templates:
        return self

    def __exit__(self, *_: object) -> None:
        self._place.cleanup()

    def find(self, version: str) -> Template | str:
        """The template of a version, or a sentence with the reason why it is unavailable."""
        if version not in self._before:
            self._before[version] = self._look_up(version)
        return self._before[version]

    def keep(self) -> str:
        """Store the present template in git, for `find`; return a warning where other clones will not have it."""
        if not git(self.folder, "rev-parse", "--git-dir"):
            return (
                "There is no git repository here, so this version of the template cannot be looked up later: "
                "'mesh template sync' will then mark every difference as a conflict."
            )
        if not git(self.folder, "cat-file", "-e", self.today.version):
            self._store()
        if git(self.folder, "rev-parse", "HEAD:./").line == self.today.version:
            return ""
        return "templates/ is not committed as it stands. Commit it together with the domain: git finds it by then."

    def _store(self) -> None:
        objects: dict[str, tuple[str, bytes]] = {}
        self.today.module.tree_id(self.folder, lambda kind, name, body: objects.update({name: (kind, body)}))
        known = git(self.folder, "cat-file", "--batch-check", body="\n".join(objects).encode())
        answers = (answer.partition(" ") for answer in known.line.splitlines())
        if missing := [objects[name] for name, _, state in answers if state == "missing"]:
            stored = git(self.folder, "unpack-objects", "-q", body=_pack(missing))
            if not stored:
                raise AttentionError(f"templates/ cannot be kept in git's store: {stored.words}")

    def _look_up(self, version: str) -> Template | str:
        folder = Path(self._place.name) / version
        folder.mkdir()
        try:
            # In a folder of the repository, git archive would select that folder from the tree.
            place = git(self.folder, "rev-parse", "--absolute-git-dir")
            done = git(folder, f"--git-dir={place.line}", "archive", version) if place else place
            if not done:
                return f"git has no template {short(version)}: {done.words}"
            with tarfile.open(fileobj=io.BytesIO(done.out)) as archive:
                archive.extractall(folder, filter="data")
            if self.today.module.tree_id(folder) != version:
                return f"git gives template {short(version)} back changed (line endings, export-ignore)."
            return Template(version, _load(folder / ANSWERS))
        except (tarfile.TarError, OSError, MeshError) as error:
            return f"template {short(version)} cannot be used: {error}"


def _pack(objects: Sequence[tuple[str, bytes]]) -> bytes:
    """A pack of git objects, each with its kind and content (gitformat-pack, "pack-*.pack files")."""
    kinds = {"tree": 2, "blob": 3}
    pack = bytearray(b"PACK" + struct.pack(">II", 2, len(objects)))
    for kind, content in objects:
        # The length in groups of 4, 7, 7, ... bits; every byte but the last has its highest bit set.
        length, byte = len(content) >> 4, kinds[kind] << 4 | len(content) & 0xF
        while length:
            pack.append(byte | 0x80)
            length, byte = length >> 7, length & 0x7F
        pack.append(byte)
        pack += zlib.compress(content)
    return bytes(pack + sha1(pack).digest())


def short(version: str) -> str:
    """A version, abbreviated for messages."""
    return version[:10]


def _load(path: Path) -> ModuleType:
    """Load a module from its source without writing a compiled file next to it."""
    module = ModuleType("domain_answers")
    module.__file__ = str(path)
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except Exception as error:
        raise AttentionError(f"{path}: cannot be loaded. {type(error).__name__}: {error}") from error
    return module
