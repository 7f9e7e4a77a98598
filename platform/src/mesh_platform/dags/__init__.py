"""Airflow DAGs, derived from contracts for each domain. Only this package imports airflow."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mesh_platform.cache.cache import Cache
from mesh_platform.errors import ContractError, Problem
from mesh_platform.mesh.mesh import Mesh, read_mesh
from mesh_platform.mesh.remembered import remembering
from mesh_platform.settings import Settings, find_root
from mesh_platform.sql.model import Model, find_models, of_tables, read_query

if TYPE_CHECKING:
    from airflow.sdk import DAG


def domain_dags(entry_file: str) -> dict[str, DAG]:
    """The DAGs, by id, of the domain whose folder has `entry_file` (domains/<domain>/dags/<file>.py).

    Raises ContractError with all faults of contracts and of the domain's SQL, which Airflow shows as the import error
    of the file.
    """
    from mesh_platform.dags.pipelines import Pipelines

    path = Path(entry_file).resolve()
    mesh, models, problems = read_domains(find_root(path.parent))
    domain = mesh.domain(path.parents[1].name)
    # Faulty SQL of a domain stops only its own pipelines.
    if problems := of_tables(mesh, [contract.identifier for contract in domain.contracts.values()], problems):
        raise ContractError(problems)
    return Pipelines(mesh, models, domain).all()


def read_domains(root: Path) -> tuple[Mesh, dict[str, Model], list[Problem]]:
    """Return the mesh, its models and the problems of these, with a cache in the state folder.

    Airflow reads each entry file in a process of its own, and each of these reads all contracts: without a cache, the
    work of a pass over all domains would grow with their square. Raises ContractError with the faults of contracts.
    """
    cache, is_part = Cache(Settings(root=root).state_dir / "dags.cache"), True
    try:
        mesh, problems = read_mesh(root, remembering(cache))
        if problems:
            raise ContractError(problems)
        models, problems = find_models(
            mesh, lambda texts: [cache.get("query", text.encode(), partial(read_query, text)) for text in texts]
        )
        is_part = False
        return mesh, models, problems
    finally:
        # Airflow interrupts a file that takes too long; the next attempt continues.
        cache.save(is_part)
