"""Lists that domains keep for governance, such as waivers: a mesh arrives, each entry leaves with where it stands."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from mesh_platform.contract.yaml_model import FileModel, read_with_lines
from mesh_platform.errors import Problem
from mesh_platform.mesh.mesh import Domain, Mesh

_Entry = TypeVar("_Entry")


def read_entries(
    mesh: Mesh, name: str, model: type[FileModel], make: Callable[[Any, Domain, str, int], _Entry]
) -> tuple[list[_Entry], list[Problem]]:
    """What `make` gives for each entry of a list, and the faults of the files: `<name>.yaml` in each domain.

    `model` is that of the file. An entry comes with its domain, the file as people read it, and its line.
    """
    found: list[_Entry] = []
    problems: list[Problem] = []
    for domain in mesh.domains.values():
        path = domain.folder / f"{name}.yaml"
        # A link that leads nowhere is a fault, not a file that is not there.
        if not os.path.lexists(path):
            continue
        read, document, faults = read_with_lines(model, path, mesh.root)
        problems += faults
        if read and document:
            for number, entry in enumerate(getattr(read, name)):
                found.append(make(entry, domain, document.label, document.line((name, number))))
    return found, problems
