"""Makes what new servers lack: the bucket, the catalog, then queues, users and rights by `mesh grants --apply`.

It reads the variables of the service `init` of docker-compose.yml, and may run again: what is there stays.
"""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import urlsplit

from mesh_platform.access.polaris import Polaris
from minio import Minio


def main() -> None:
    warehouse = os.environ["MESH_INIT_WAREHOUSE"]
    make_bucket(urlsplit(warehouse).netloc)
    make_catalog(os.environ["PYICEBERG_CATALOG__MESH__WAREHOUSE"], warehouse)
    sys.exit(subprocess.run(["mesh", "grants", "--apply"]).returncode)


def make_bucket(name: str) -> None:
    """Make a bucket in the store of pyiceberg's variables."""
    own = {key: os.environ[f"PYICEBERG_CATALOG__MESH__S3__{key}"] for key in ("ENDPOINT", "REGION")}
    place = urlsplit(own["ENDPOINT"])
    store = Minio(
        endpoint=place.netloc,
        access_key=os.environ["PYICEBERG_CATALOG__MESH__S3__ACCESS_KEY_ID"],
        secret_key=os.environ["PYICEBERG_CATALOG__MESH__S3__SECRET_ACCESS_KEY"],
        region=own["REGION"],
        secure=place.scheme == "https",
    )
    if not store.bucket_exists(bucket_name=name):
        store.make_bucket(bucket_name=name)
        print(f"bucket {name}: made")


def make_catalog(name: str, warehouse: str) -> None:
    """Make a catalog in Polaris, with its tables below `warehouse`, and let its administrators write tables.

    Clients have keys and an address of the store of their own. So Polaris hands out no keys (`stsUnavailable`), and
    the address is for its own use alone.
    """
    server = Polaris(os.environ["MESH_CATALOG_ADMIN_URL"], name)
    storage = {
        "storageType": "S3",
        "allowedLocations": [warehouse],
        "endpointInternal": os.environ["PYICEBERG_CATALOG__MESH__S3__ENDPOINT"],
        "region": os.environ["PYICEBERG_CATALOG__MESH__S3__REGION"],
        "pathStyleAccess": True,
        "stsUnavailable": True,
    }
    place = {"default-base-location": warehouse}
    catalog = {"name": name, "type": "INTERNAL", "properties": place, "storageConfigInfo": storage}
    server.send("POST", "/api/management/v1/catalogs", {"catalog": catalog})
    grant = {"type": "catalog", "privilege": "CATALOG_MANAGE_CONTENT"}
    server.send("PUT", f"{server.own}/catalog-roles/catalog_admin/grants", {"grant": grant})
    roles = f"/api/management/v1/principal-roles/service_admin/catalog-roles/{name}"
    server.send("PUT", roles, {"catalogRole": {"name": "catalog_admin"}})


if __name__ == "__main__":
    main()
