#!/usr/bin/env bash
# Expected: Deleting the objects of a prefix in an S3 bucket leaves nothing, and one deletion is one request.
# Happens: pyarrow's `delete_file`, which pyiceberg calls for each file, sends HEAD, DELETE and PUT: the last one writes an
#   empty object, named like the folder, that was not there before.
# Matters: A lake that removes expired files grows by an object for each folder that it empties, such as a partition that
#   is gone; listings find it, and a user who may delete but not write is refused after the deletion. Each of
#   thousands of deletions takes three requests.
# Instead: Delete by the store's own API (DeleteObjects takes a thousand keys a request), or remove what ends in a slash
#   and is empty.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check pyarrow==26.0.1 "moto[server]==5.2.5"
port=$(venv/bin/python -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
venv/bin/moto_server -H 127.0.0.1 -p "$port" >moto.log 2>&1 &
PORT=$port venv/bin/python - <<'PY'
import os
import re
import sys
import time
from pathlib import Path

import boto3
import pyarrow
from botocore.exceptions import EndpointConnectionError
from pyarrow.fs import S3FileSystem

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


print(f"pyarrow {pyarrow.__version__}")
url = f"http://127.0.0.1:{os.environ['PORT']}"
store = boto3.client(
    "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
)
for _ in range(100):
    try:
        store.create_bucket(Bucket="lake")
        break
    except EndpointConnectionError:
        time.sleep(0.1)
for key in ("orders/day=1/a.parquet", "orders/day=1/b.parquet"):
    store.put_object(Bucket="lake", Key=key, Body=b"rows")


def keys():
    return [each["Key"] for each in store.list_objects_v2(Bucket="lake").get("Contents", [])]


def requests(before):
    return re.findall(r'"(?:\x1b\[\S*?m)?([A-Z]+) /lake/\S* HTTP', Path("moto.log").read_text()[before:])


files = S3FileSystem(endpoint_override=url, access_key="key", secret_key="secret", region="us-east-1")
before = len(Path("moto.log").read_text())
files.delete_file("lake/orders/day=1/a.parquet")
compare("requests of the first deletion", ["DELETE"], requests(before), ["HEAD", "DELETE", "PUT"])
compare("objects after it", ["orders/day=1/b.parquet"], keys(), ["orders/day=1/", "orders/day=1/b.parquet"])
files.delete_file("lake/orders/day=1/b.parquet")
compare("objects after the second", [], keys(), ["orders/day=1/"])
sys.exit(len(changed) > 0)
PY
