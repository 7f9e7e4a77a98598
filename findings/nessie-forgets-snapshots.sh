#!/usr/bin/env bash
# Expected: A catalog that serves Iceberg's REST protocol keeps what is committed: the snapshots of a table, and a tag
#   that it answered 200 to.
# Happens: Nessie returns a table with one snapshot, which has no parent; the earlier ones are only in Nessie's own
#   history. It accepts a new tag and drops it.
# Matters: Time travel by snapshot, rollback, incremental reads, and each writer that finds its own earlier commits by
#   their summaries do not work; a release that was tagged is gone without an error.
# Instead: Use Nessie's own tags and branches through its API, or a catalog that keeps the table's metadata, such as
#   Polaris or Iceberg's own.
# Seen: 2026-11
#
# Needs Maven and a Java runtime 21 or later, more than the others here: 250 MB are fetched.
set -euo pipefail
folder=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check "pyiceberg[pyarrow]==0.12.0" pyarrow==26.0.1 "moto[server]==5.2.5"
mvn -q -B dependency:copy -Dartifact=org.projectnessie.nessie:nessie-quarkus:0.99.0:jar:runner -DoutputDirectory=.
read -r s3 http management < <(venv/bin/python -c '
import socket
found = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(each.getsockname()[1] for each in found))')
venv/bin/moto_server -H 127.0.0.1 -p "$s3" >moto.log 2>&1 &
servers+=($!)
cat >application.properties <<END
quarkus.http.host=127.0.0.1
quarkus.http.port=$http
quarkus.management.port=$management
nessie.version.store.type=IN_MEMORY
nessie.catalog.default-warehouse=warehouse
nessie.catalog.warehouses.warehouse.location=s3://lake/warehouse
nessie.catalog.service.s3.default-options.endpoint=http://127.0.0.1:$s3
nessie.catalog.service.s3.default-options.path-style-access=true
nessie.catalog.service.s3.default-options.region=us-east-1
nessie.catalog.service.s3.default-options.access-key=urn:nessie-secret:quarkus:key
key.name=key
key.secret=secret
END
"${JAVA_HOME:+$JAVA_HOME/bin/}java" -Dquarkus.config.locations="$folder/application.properties" -jar nessie-quarkus-0.99.0-runner.jar >nessie.log 2>&1 &
servers+=($!)
until venv/bin/python -c "from urllib.request import urlopen; urlopen('http://127.0.0.1:$http/iceberg/v1/config')" 2>/dev/null; do
    kill -0 "${servers[1]}" || { tail -5 nessie.log && exit 1; }
    sleep 1
done
S3=http://127.0.0.1:$s3 NESSIE=http://127.0.0.1:$http/iceberg venv/bin/python - <<'PY'
import importlib.metadata
import os
import sys
from urllib.request import Request, urlopen

import pyarrow as pa
from pyiceberg.catalog import load_catalog

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "pyiceberg pyarrow".split():
    print(package, importlib.metadata.version(package))
print("nessie-quarkus 0.99.0")
urlopen(Request(os.environ["S3"] + "/lake", method="PUT"))
storage = {"s3.endpoint": os.environ["S3"], "s3.access-key-id": "key", "s3.secret-access-key": "secret"}
catalog = load_catalog("lake", type="rest", uri=os.environ["NESSIE"], **storage, **{"s3.region": "us-east-1"})
catalog.create_namespace("shop")
table = catalog.create_table("shop.orders", pa.schema([("id", pa.int64())]))
for number in range(3):
    table.append(pa.table({"id": [number]}))
table = catalog.load_table("shop.orders")
compare("rows after three appends", 3, table.scan().to_arrow().num_rows, 3)
compare("snapshots after three appends", 3, len(table.snapshots()), 1)
compare("the newest snapshot has a parent", True, table.current_snapshot().parent_snapshot_id is not None, False)
table.manage_snapshots().create_tag(table.current_snapshot().snapshot_id, "release").commit()
compare("the tag is there after its commit", True, "release" in catalog.load_table("shop.orders").metadata.refs, False)
sys.exit(len(changed) > 0)
PY
