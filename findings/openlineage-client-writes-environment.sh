#!/usr/bin/env bash
# Expected: A client that is created with OPENLINEAGE_URL reads the environment and leaves it as it is.
# Happens: It writes OPENLINEAGE__TRANSPORT__TRANSPORTS__DEFAULT_HTTP__TYPE and __URL into os.environ.
# Matters: Child processes, and clients that are created after OPENLINEAGE_URL was removed, go on sending to that server.
# Instead: Remove every variable that begins with OPENLINEAGE, not only OPENLINEAGE_URL.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check openlineage-python==1.54.0
OPENLINEAGE_URL=http://127.0.0.1:9 venv/bin/python - <<'PY'
import os
import sys

from openlineage.client import OpenLineageClient

OpenLineageClient()
del os.environ["OPENLINEAGE_URL"]
left = sorted(name for name in os.environ if name.startswith("OPENLINEAGE"))
print("left:", *left)
sys.exit(not left)
PY
