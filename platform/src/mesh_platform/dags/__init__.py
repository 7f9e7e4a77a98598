"""Airflow's DAGs from contracts: the entry file of a domain arrives, its DAGs leave. Nobody else imports airflow."""

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
    """The DAGs of the domain whose folder has `entry_file`, domains/<domain>/dags/<file>.py, by their ids.

    Raises ContractError with all faults of contracts and of the domain's SQL, which Airflow shows as the import error
    of the file.
    """
    from mesh_platform.dags.pipelines import Pipelines

    path = Path(entry_file).resolve()
    mesh = load_mesh(find_root(path.parent))
    domain = mesh.domain(path.parents[1].name)
    models, problems = find_models(mesh)
    # SQL of another domain that cannot be read stops the pipelines of that one alone.
    if problems := of_tables(mesh, [contract.identifier for contract in domain.contracts.values()], problems):
        raise ContractError(problems)
    return Pipelines(mesh, models, domain).all()
