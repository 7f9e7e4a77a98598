"""Makes what new servers lack: the bucket, the catalog, then queues, users and rights by `mesh grants --apply`.

It reads the variables of the service `init` of docker-compose.yml, and may run again: what is there stays.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from minio import Minio

REALM = "mesh"


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
    address = urlsplit(os.environ["MESH_CATALOG_ADMIN_URL"])
    server = f"{address.scheme}://{address.netloc.rpartition('@')[2]}/api"
    form = {
        "grant_type": "client_credentials",
        "client_id": address.username or "",
        "client_secret": address.password or "",
        "scope": "PRINCIPAL_ROLE:ALL",
    }
    token = _send("POST", f"{server}/catalog/v1/oauth/tokens", urlencode(form).encode())["access_token"]
    storage = {
        "storageType": "S3",
        "allowedLocations": [warehouse],
        "endpointInternal": os.environ["PYICEBERG_CATALOG__MESH__S3__ENDPOINT"],
        "region": os.environ["PYICEBERG_CATALOG__MESH__S3__REGION"],
        "pathStyleAccess": True,
        "stsUnavailable": True,
    }
    catalog = {
        "name": name,
        "type": "INTERNAL",
        "properties": {"default-base-location": warehouse},
        "storageConfigInfo": storage,
    }
    own = f"{server}/management/v1"
    _send("POST", f"{own}/catalogs", {"catalog": catalog}, token)
    roles = f"catalogs/{name}/catalog-roles/catalog_admin"
    _send(
        "PUT", f"{own}/{roles}/grants", {"grant": {"type": "catalog", "privilege": "CATALOG_MANAGE_CONTENT"}}, token
    )
    role = {"catalogRole": {"name": "catalog_admin"}}
    _send("PUT", f"{own}/principal-roles/service_admin/catalog-roles/{name}", role, token)


def _send(method: str, url: str, body: bytes | dict[str, Any], token: str = "") -> Any:
    """Send a request; return what JSON is answered. 409, it is there already, is no error."""
    headers = {"Polaris-Realm": REALM} | ({"Authorization": f"Bearer {token}"} if token else {})
    if isinstance(body, dict):
        headers["Content-Type"] = "application/json"
        body = json.dumps(body).encode()
    try:
        with urlopen(Request(url, body, headers, method=method), timeout=30) as answer:
            text = answer.read()
    except HTTPError as error:
        if error.code == 409:
            return None
        sys.exit(f"{method} {url}: {error.code}, {error.read().decode('utf-8', 'replace')[:300]}")
    return json.loads(text) if text else None


if __name__ == "__main__":
    main()
