"""Lists that domains keep for governance, such as waivers: their entries with file and line."""

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
    """Read `<name>.yaml` of each domain: the result of `make` for each entry, and the problems of the files.

    `model` is the model of the file. `make` gets the entry, its domain, the path for messages, and the line.
    """
    found: list[_Entry] = []
    problems: list[Problem] = []
    for domain in mesh.domains.values():
        path = domain.folder / f"{name}.yaml"
        # A dangling link is a fault, not a missing file.
        if not os.path.lexists(path):
            continue
        read, document, faults = read_with_lines(model, path, mesh.root)
        problems += faults
        if read and document:
            for number, entry in enumerate(getattr(read, name)):
                found.append(make(entry, domain, document.label, document.line((name, number))))
    return found, problems
