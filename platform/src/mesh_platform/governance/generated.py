"""Files that are generated from the mesh and its rules for outside readers.

`.github/CODEOWNERS` makes each domain's team review its folder; `docs/rules/` has a page for each rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mesh_platform.errors import UsageError
from mesh_platform.governance.registry import GlobalRule
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.scaffold.new import first_difference

CODEOWNERS = Path(".github") / "CODEOWNERS"
PAGES = Path("docs") / "rules"
_BY = "mesh check --fix"
_INDEX = f"""# The rules of the mesh

`mesh check` holds every domain to these, for a person, before a commit, and in CI. Written by `{_BY}` from the rules
themselves; in what no rule names, a domain is free.

| rule | what it asks |
|---|---|
"""


def render_codeowners(mesh: Mesh) -> str:
    """CODEOWNERS: a line for each domain with the contact of its team."""
    head = f"# Written by `{_BY}` from each domain's owners.yaml. Change it there.\n"
    return head + "".join(f"/domains/{each.name}/ {each.owners.contact}\n" for each in mesh.domains.values())


def render_pages(rules: Mapping[str, GlobalRule]) -> dict[Path, str]:
    """The page of each rule, and the index of all."""
    names = sorted(rules)
    pages = {PAGES / f"{name}.md": _page(rules[name]) for name in names}
    rows = "".join(f"| [{name}]({name}.md) | {rules[name].title} |\n" for name in names)
    return {PAGES / "README.md": _INDEX + rows, **pages}


def _page(rule: GlobalRule) -> str:
    waived = (
        "A domain can waive it for a while, in its `waivers.yaml`; see [waiver](waiver.md)."
        if rule.waivable
        else "It cannot be waived."
    )
    mended = f" `{_BY}` mends it." if rule.mend else ""
    return f"# {rule.id}\n\n{rule.text}\n\nSeverity: {rule.severity}. {waived}{mended}\n"


def differing(root: Path, files: Mapping[Path, str]) -> dict[Path, int]:
    """The files that differ from the generated text, each with the first differing line."""
    found = {}
    for path, text in files.items():
        there = (root / path).read_text(encoding="utf-8", errors="replace") if (root / path).is_file() else ""
        if there != text:
            found[path] = first_difference(there, text)
    return found


def write(root: Path, files: Mapping[Path, str]) -> list[Path]:
    """Write the files that differ from the generated text; return them."""
    written = []
    for path in differing(root, files):
        try:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(files[path], encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}. Check what is at this path.") from error
        written.append(root / path)
    return written
