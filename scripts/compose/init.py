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
    endpoint, region = (os.environ[f"PYICEBERG_CATALOG__MESH__S3__{key}"] for key in ("ENDPOINT", "REGION"))
    make_bucket(urlsplit(warehouse).netloc, endpoint, region)
    catalog = Polaris(os.environ["MESH_CATALOG_ADMIN_URL"], os.environ["PYICEBERG_CATALOG__MESH__WAREHOUSE"])
    catalog.make_catalog(warehouse, endpoint, region)
    sys.exit(subprocess.run(["mesh", "grants", "--apply"]).returncode)


def make_bucket(name: str, endpoint: str, region: str) -> None:
    """Make a bucket in the store at `endpoint`, with the key of pyiceberg's variables."""
    place = urlsplit(endpoint)
    store = Minio(
        endpoint=place.netloc,
        access_key=os.environ["PYICEBERG_CATALOG__MESH__S3__ACCESS_KEY_ID"],
        secret_key=os.environ["PYICEBERG_CATALOG__MESH__S3__SECRET_ACCESS_KEY"],
        region=region,
        secure=place.scheme == "https",
    )
    if not store.bucket_exists(bucket_name=name):
        store.make_bucket(bucket_name=name)
        print(f"bucket {name}: made")


if __name__ == "__main__":
    main()
