"""The servers that settings name for enforcing rights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mesh_platform.access.rights import Right
from mesh_platform.access.step import Credentials, Server, principals
from mesh_platform.broker import queue_of
from mesh_platform.errors import UsageError
from mesh_platform.iceberg.connection import catalog_settings
from mesh_platform.lake.catalog import CATALOG
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.settings import Settings

if TYPE_CHECKING:
    from mesh_platform.access.polaris import Polaris


def servers_of(settings: Settings, mesh: Mesh, rights: Sequence[Right]) -> list[Server]:
    """Return the servers whose administration settings name. Raises UsageError if there is none, or one is wrong."""
    credentials = Credentials(settings.state_dir / "credentials")
    domains = [*mesh.domains]
    found: list[Server] = []
    if url := settings.rabbitmq_admin_url.get_secret_value():
        from mesh_platform.access.rabbitmq import Management, RabbitRights

        management = Management(url)
        _check_user("MESH_RABBITMQ_ADMIN_URL", url, domains)
        clients = urlsplit(settings.broker)
        if clients.scheme not in ("amqp", "amqps"):
            clients = urlsplit(f"amqp://{management.host}")
        queues = [queue_of(contract) for contract in mesh.ingested()]
        found.append(RabbitRights(management, domains, queues, credentials, clients))
    if polaris := _polaris(settings):
        from mesh_platform.access.polaris import PolarisRights

        _check_user("MESH_CATALOG_ADMIN_URL", settings.catalog_admin_url.get_secret_value(), domains)
        found.append(PolarisRights(polaris, domains, rights, credentials))
    if url := settings.s3_admin_url.get_secret_value():
        from mesh_platform.access.minio import MinioRights

        _check_user("MESH_S3_ADMIN_URL", url, domains)
        warehouse = polaris.base_location() if polaris else warehouse_of_settings(settings)
        found.append(MinioRights(url, domains, rights, warehouse, credentials))
    if not found:
        fix = "Set MESH_RABBITMQ_ADMIN_URL, MESH_CATALOG_ADMIN_URL, MESH_S3_ADMIN_URL, or all of them."
        raise UsageError(f"mesh grants: no server is named that enforces rights. {fix}")
    return found


def _check_user(setting: str, url: str, domains: Sequence[str]) -> None:
    user = unquote(urlsplit(url).username or "")
    if user in principals(domains):
        raise UsageError(
            f"{setting}: its user is called '{user}', as one that is made for the mesh and gets other rights. "
            "Give it an administrator of another name."
        )


def warehouse_of_settings(settings: Settings) -> str:
    """Return the place of the tables by pyiceberg's settings, or as Polaris says, which is named there by a catalog.

    Raises UsageError if they name none, and as `Polaris` does.
    """
    found = str(catalog_settings(CATALOG).get("warehouse") or "")
    if not found:
        raise UsageError("PYICEBERG_CATALOG__MESH__WAREHOUSE: is not set. Give the place of the tables, s3://bucket.")
    polaris = _polaris(settings)
    return polaris.base_location() if polaris else found


def _polaris(settings: Settings) -> Polaris | None:
    url = settings.catalog_admin_url.get_secret_value()
    if not url:
        return None
    from mesh_platform.access.polaris import Polaris

    catalog = str(catalog_settings(CATALOG).get("warehouse") or "")
    if not catalog or "/" in catalog:
        fix = "With MESH_CATALOG_ADMIN_URL, PYICEBERG_CATALOG__MESH__WAREHOUSE is the name of a catalog in Polaris."
        raise UsageError(f"PYICEBERG_CATALOG__MESH__WAREHOUSE: '{catalog}' names no catalog. {fix}")
    return Polaris(url, catalog)
