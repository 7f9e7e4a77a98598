"""The readers of each product and interface: models and dashboards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from mesh_platform.contract.contract import Contract
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.model import Model
from mesh_platform.sql.relations import interface_unions
from mesh_platform.text import shown

_DASHBOARD = (".yaml", ".yml", ".json", ".sql")


class Consumers:
    """The readers in `mesh`, given its `models`; dashboards are the files in the folder `dashboards` of a domain."""

    def __init__(self, mesh: Mesh, models: Mapping[str, Model]) -> None:
        self.mesh = mesh
        self.readers: dict[str, list[Model]] = {}
        for model in models.values():
            for relation in model.inputs:
                self.readers.setdefault(relation, []).append(model)
        # The unions that contain a product's rows, each with its interface.
        self.unions: dict[str, list[tuple[str, Contract]]] = {}
        self.interfaces = interface_unions(mesh)
        for view, (interface, members) in self.interfaces.items():
            for member in members:
                self.unions.setdefault(member.identifier, []).append((view, interface))

    def domains(self, relation: str, owner: str, columns: frozenset[str | None]) -> dict[str, list[str]]:
        """The domains besides `owner` that read `relation`, with the files that do.

        Readers of a union count only if it has one of `columns`, or if these contain None for the whole product.
        """
        models = [*self.readers.get(relation, ())]
        for view, interface in self.unions.get(relation, ()):
            if None in columns or columns & interface.table.by_name.keys():
                models += self.readers.get(view, ())
        found: dict[str, list[str]] = {}
        for model in models:
            found.setdefault(model.contract.domain, []).append(model.path)
        for domain, path in self.dashboards(relation):
            found.setdefault(domain, []).append(path)
        found.pop(owner, None)
        return {domain: sorted(set(found[domain])) for domain in sorted(found)}

    def dashboards(self, relation: str, column: str | None = None) -> list[tuple[str, str]]:
        """(domain, file) of each dashboard that names the relation, and the column where one is given."""
        names = [relation, *([column] if column else [])]
        # A column may follow the name of its table and a dot; a table after a dot would be one of another catalog.
        dotted = [(re.escape(name).replace(r"\.", r"\s*\.\s*"), "." if name == relation else "") for name in names]
        words = [re.compile(rf"(?<![\w{before}]){name}(?!\w)", re.IGNORECASE) for name, before in dotted]
        return [(domain, path) for domain, path, text in self._dashboards if all(word.search(text) for word in words)]

    def other_files(self, relation: str, column: str) -> list[tuple[str, str]]:
        """`dashboards` without the files whose charts the mesh knows itself."""
        own = tuple(f"{each.folder}/" for each in self.mesh.dashboards.values())
        return [found for found in self.dashboards(relation, column) if not found[1].startswith(own)]

    @cached_property
    def _dashboards(self) -> list[tuple[str, str, str]]:
        """(domain, file, text) of each dashboard, without the quotes around names."""
        return [
            (domain.name, shown(path, self.mesh.root), _text(path))
            for domain in self.mesh.domains.values()
            for path in sorted((domain.folder / "dashboards").glob("**/*"))
            if path.suffix in _DASHBOARD and path.is_file()
        ]


def _text(path: Path) -> str:
    try:
        return re.sub(r"\\?[\"`]", "", path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
