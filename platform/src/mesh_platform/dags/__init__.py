"""Airflow DAGs, derived from contracts for each domain. Only this package imports airflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mesh_platform.errors import ContractError
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.settings import find_root
from mesh_platform.sql.model import find_models, of_tables

if TYPE_CHECKING:
    from airflow.sdk import DAG


def domain_dags(entry_file: str) -> dict[str, DAG]:
    """The DAGs, by id, of the domain whose folder has `entry_file` (domains/<domain>/dags/<file>.py).

    Raises ContractError with all faults of contracts and of the domain's SQL, which Airflow shows as the import error
    of the file.
    """
    from mesh_platform.dags.pipelines import Pipelines

    path = Path(entry_file).resolve()
    mesh = load_mesh(find_root(path.parent))
    domain = mesh.domain(path.parents[1].name)
    models, problems = find_models(mesh)
    # Faulty SQL of a domain stops only its own pipelines.
    if problems := of_tables(mesh, [contract.identifier for contract in domain.contracts.values()], problems):
        raise ContractError(problems)
    return Pipelines(mesh, models, domain).all()
