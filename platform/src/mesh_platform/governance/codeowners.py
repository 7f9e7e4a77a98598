"""`.github/CODEOWNERS`: the mesh arrives; the file that asks each domain's team to review what is theirs leaves."""

from __future__ import annotations

from pathlib import Path

from mesh_platform.domain import Mesh

PLACE = Path(".github") / "CODEOWNERS"
_HEAD = """# Written by `mesh check --fix` from each domain's owners.yaml. Change it there.
"""


def render_codeowners(mesh: Mesh) -> str:
    """The file's text: a line for each domain, with where its team is reached."""
    return _HEAD + "".join(
        f"/domains/{domain.name}/ {domain.owners.contact}\n" for domain in mesh.domains.values() if domain.owners
    )


def write_codeowners(mesh: Mesh) -> list[Path]:
    """Write it where it is not as it should be; the files that changed."""
    path = mesh.root / PLACE
    text = render_codeowners(mesh)
    if path.is_file() and path.read_bytes() == text.encode():
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return [path]
