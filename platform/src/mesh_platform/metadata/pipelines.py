"""The DAGs of a domain: their names, and the products that have a task in each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from mesh_platform.contract.contract import Contract
from mesh_platform.engine.sql import has_days
from mesh_platform.mesh.mesh import Domain


def pipelines_of(products: Iterable[Contract], models: Collection[str]) -> Mapping[str, Sequence[Contract]]:
    """Return which of a domain's products have a task in each of its DAGs, by the kind of DAG.

    A product that promises accuracy is predicted by a model that is trained.

    `models` are the products of the mesh that SQL builds.
    """
    own = [*products]
    learned = [contract for contract in own if contract.accuracy is not None]
    return {
        "ingest": [contract for contract in own if contract.event],
        "build": own,
        "maintain": [contract for contract in own if contract.maintained],
        "freshness": [contract for contract in own if contract.freshness_column or contract.latency],
        "backfill": [contract for contract in own if contract.identifier in models and has_days(contract.table)],
        "train": learned,
        "predict": learned,
    }


def dag_id(domain: Domain, kind: str) -> str:
    """Return the id of a domain's DAG in Airflow."""
    return f"{domain.name}__{kind}"
