"""The servers that settings name for enforcing rights."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from mesh_platform.access.rights import Right
from mesh_platform.access.step import Credentials, Server, principals
from mesh_platform.broker import queue_of
from mesh_platform.errors import UsageError
from mesh_platform.iceberg.connection import catalog_settings
from mesh_platform.lake.catalog import CATALOG
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.settings import Settings


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
    if url := settings.s3_admin_url.get_secret_value():
        from mesh_platform.access.minio import MinioRights

        _check_user("MESH_S3_ADMIN_URL", url, domains)
        found.append(MinioRights(url, domains, rights, warehouse_of_settings(), credentials))
    if not found:
        fix = "Set MESH_RABBITMQ_ADMIN_URL, MESH_S3_ADMIN_URL or both."
        raise UsageError(f"mesh grants: no server is named that enforces rights. {fix}")
    return found


def _check_user(setting: str, url: str, domains: Sequence[str]) -> None:
    user = unquote(urlsplit(url).username or "")
    if user in principals(domains):
        raise UsageError(
            f"{setting}: its user is called '{user}', as one that is made for the mesh and gets other rights. "
            "Give it an administrator of another name."
        )


def warehouse_of_settings() -> str:
    """Return the warehouse of the catalog by pyiceberg's settings. Raises UsageError if they name none."""
    found = catalog_settings(CATALOG).get("warehouse")
    if not found:
        raise UsageError("PYICEBERG_CATALOG__MESH__WAREHOUSE: is not set. Give the place of the tables, s3://bucket.")
    return str(found)
