"""Rights in an S3 store: a key for each domain, for the objects of its own tables, and of those that it may read.

A table's objects are below `<warehouse>/<domain>/<table>/`. The documents are those of AWS, which most stores take:
as the policy of a user (`user_policy`: AWS, MinIO and its forks), or as one policy of the bucket (`bucket_policy`),
which names users as versitygw does. AWS and Ceph name them by ARN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mesh_platform.access.rights import Right
from mesh_platform.errors import UsageError

VERSION = "2012-10-17"
_WRITE = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


def bucket_and_prefix(warehouse: str) -> tuple[str, str]:
    """Return the bucket of a warehouse `s3://bucket/prefix`, and the prefix with a slash at its end, or none.

    Raises UsageError for another kind of place.
    """
    scheme, _, rest = warehouse.partition("://")
    bucket, _, prefix = rest.strip("/").partition("/")
    if scheme not in ("s3", "s3a", "s3n") or not bucket:
        raise UsageError(f"{warehouse}: is no place in an S3 store. Give s3://bucket or s3://bucket/prefix.")
    return bucket, f"{prefix}/" if prefix else ""


def user_policy(domain: str, rights: Iterable[Right], warehouse: str) -> dict[str, Any]:
    """Return the policy of a domain's user: what it may do, in the form of AWS."""
    return {"Version": VERSION, "Statement": _statements(domain, rights, warehouse)}


def bucket_policy(domains: Sequence[str], rights: Sequence[Right], warehouse: str) -> dict[str, Any]:
    """Return the policy of the bucket: the statements of all domains, each for the user of the domain's name."""
    statements = [
        {**statement, "Principal": {"AWS": [domain]}}
        for domain in domains
        for statement in _statements(domain, rights, warehouse)
    ]
    return {"Version": VERSION, "Statement": statements}


def _statements(domain: str, rights: Iterable[Right], warehouse: str) -> list[dict[str, Any]]:
    bucket, prefix = bucket_and_prefix(warehouse)
    arn = f"arn:aws:s3:::{bucket}"
    own = f"{prefix}{domain}/"
    foreign = [f"{prefix}{name.replace('.', '/', 1)}/" for name in _readable(domain, rights)]
    statements = [{"Effect": "Allow", "Action": [*_WRITE], "Resource": [f"{arn}/{own}*"]}]
    if foreign:
        resources = [f"{arn}/{place}*" for place in foreign]
        statements.append({"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": resources})
    # Readers list, too: to find that an object is missing, they list its name.
    listed: Mapping[str, Any] = {"StringLike": {"s3:prefix": [f"{place}*" for place in (own, *foreign)]}}
    return [
        *statements,
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn], "Condition": listed},
        {"Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": [arn]},
    ]


def _readable(domain: str, rights: Iterable[Right]) -> list[str]:
    """The tables of others that a domain may read."""
    mine = (right for right in rights if right.domain == domain and right.resource == "table")
    return sorted({right.name for right in mine if not right.name.startswith(f"{domain}.")})
