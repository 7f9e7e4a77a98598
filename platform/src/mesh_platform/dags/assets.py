"""Queues and tables as Airflow assets, with the same name in every DAG, so that the graph is connected."""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

from mesh_platform.broker import queue_of
from mesh_platform.contract.contract import Contract
from mesh_platform.dags.queue_trigger import QueueTrigger
from mesh_platform.lake.tables import landing_name, table_named
from mesh_platform.mesh.mesh import Mesh


def queue_asset(mesh: Mesh, contract: Contract) -> Asset:
    """The queue of a product. Its watcher triggers the DAGs scheduled on it when messages wait."""
    name = f"queue/{queue_of(contract).name}"
    watcher = AssetWatcher(name=name, trigger=QueueTrigger(queue_of(contract).name))
    uri, extra = f"mesh://{name}", _extra(mesh, contract)
    return Asset(name, uri=uri, group=contract.domain, watchers=[watcher], extra=extra)


def table_asset(mesh: Mesh, name: str) -> Asset:
    """A table of the lake: a product's, or its landing table `<domain>.<table>__raw`, also of a retired one."""
    table = table_named(mesh, name)
    assert table is not None, name
    contract = table.contract
    uri = f"mesh://{name.replace('.', '/')}"
    return Asset(name, uri=uri, group=contract.domain, extra=_extra(mesh, contract))


def model_asset(mesh: Mesh, contract: Contract) -> Asset:
    """The model in use that predicts the events of a product; a training that publishes one updates it."""
    name = f"model/{contract.identifier}"
    return Asset(name, uri=f"mesh://{name}", group=contract.domain, extra=_extra(mesh, contract))


def landing_asset(mesh: Mesh, contract: Contract) -> Asset:
    """The landing table of a product."""
    return table_asset(mesh, landing_name(contract))


def _extra(mesh: Mesh, contract: Contract) -> dict[str, str]:
    """The information shown with the asset."""
    owner = mesh.domains[contract.domain].owners.team
    return {"owner": owner, "product": contract.description, "contract": contract.path}
