"""Queues and tables as Airflow's assets: one name for one thing in every DAG, so that the graph joins up."""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

from mesh_platform.broker import queue_of
from mesh_platform.contract import Contract
from mesh_platform.dags.queue_trigger import QueueTrigger
from mesh_platform.domain import Mesh
from mesh_platform.lake.landing import landing_name


def queue_asset(contract: Contract) -> Asset:
    """The queue of a product. Its watcher wakes what is scheduled on it when messages wait."""
    name = f"queue/{queue_of(contract).name}"
    watcher = AssetWatcher(name=name, trigger=QueueTrigger(queue_of(contract).name))
    return Asset(name, uri=f"mesh://{name}", group=contract.domain, watchers=[watcher])


def table_asset(mesh: Mesh, name: str) -> Asset:
    """A table of the lake, `<domain>.<table>`; a landing table `<domain>.<table>__raw`."""
    domain, _, table = name.partition(".")
    return Asset(
        name, uri=f"mesh://{domain}/{table}", group=domain, extra={"owner": mesh.domains[domain].owners.team}
    )


def landing_asset(mesh: Mesh, contract: Contract) -> Asset:
    """The table that a product's events land in."""
    return table_asset(mesh, landing_name(contract))
