"""Reading the mesh with a cache: only contracts whose text is new are parsed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mesh_platform.cache.cache import Cache
from mesh_platform.contract.contract import Contract
from mesh_platform.contract.reader import SUFFIX, read_contract
from mesh_platform.errors import ContractError, Problem
from mesh_platform.mesh.mesh import Mesh, ReadContract, domain_folders, read_mesh
from mesh_platform.settings import Settings
from mesh_platform.text import shown


def load_remembered(settings: Settings) -> Mesh:
    """`load_mesh` of the repository that `settings` name, with a cache in the state folder."""
    cache = Cache(settings.state_dir / "contracts.cache")
    mesh, problems = read_remembered(settings.root, cache)
    # Commands that only look leave a folder that is not there as it is.
    if settings.state_dir.is_dir():
        cache.save()
    if problems:
        raise ContractError(problems)
    return mesh


def read_remembered(root: Path, cache: Cache) -> tuple[Mesh, list[Problem]]:
    """`read_mesh` with a cache; many new contracts are parsed on all cores. Raises UsageError without a mesh."""
    paths = [path for folder in domain_folders(root) for path in folder.glob(f"*/*{SUFFIX}")]
    look = [(contract_source(p, root), partial(read_contract, p, root, p.parts[-3])) for p in paths]
    found = dict(zip(paths, cache.get_all("contract", look), strict=True))
    one = remembering(cache)
    # A contract file created since then is read individually.
    return read_mesh(root, lambda path, top, domain: found.get(path) or one(path, top, domain))


def remembering(cache: Cache) -> ReadContract:
    """`read_contract` with a cache."""

    def read(path: Path, root: Path, domain: str) -> tuple[Contract | None, list[Problem]]:
        return cache.get("contract", contract_source(path, root), partial(read_contract, path, root, domain))

    return read


def contract_source(path: Path, root: Path) -> bytes:
    """Everything that reading a contract depends on: its text, and its path, which names the domain."""
    try:
        return f"{shown(path, root)} ".encode() + path.read_bytes()
    except OSError as error:
        return f"{shown(path, root)} {error}".encode()
