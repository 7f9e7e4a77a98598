"""Rights in a store with MinIO's administration API: a user and a policy for each domain.

MinIO's source has no maintained image since 2026; its forks answer the same API. Other stores take the documents of
`object_store` by their own tools.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mesh_platform.access.object_store import VERSION, bucket_and_prefix, user_policy
from mesh_platform.access.rights import Right
from mesh_platform.access.step import PLATFORM, Credentials, Step, new_secret, principals
from mesh_platform.errors import AttentionError, UnavailableError, UsageError

if TYPE_CHECKING:
    from minio import MinioAdmin

SERVER = "s3"
KEY, SECRET = "PYICEBERG_CATALOG__MESH__S3__ACCESS_KEY_ID", "PYICEBERG_CATALOG__MESH__S3__SECRET_ACCESS_KEY"
_SETTING = "MESH_S3_ADMIN_URL"
# Policies by the names of others are none of the mesh's business.
_NAME = "mesh-{}"


class MinioRights:
    """Brings the store at `http(s)://key:secret@host:9000` in step with the rights of the domains.

    Raises UsageError for another address, and where the package `minio` is missing. Requests raise UnavailableError
    where nothing answers, and AttentionError where the store refuses.
    """

    def __init__(
        self, url: str, domains: Sequence[str], rights: Sequence[Right], warehouse: str, credentials: Credentials
    ) -> None:
        self._admin, self.address = _administration(url)
        self.policies = {name: _policy(name, rights, warehouse) for name in principals(domains)}
        self.warehouse, self.credentials = warehouse, credentials

    def plan(self) -> Iterator[Step]:
        """Yield what must change in the store.

        A policy is the mesh's if it has the name and the own objects of a domain. Where that domain has gone, the
        policy and its user are removed.
        """
        users: dict[str, Any] = self._call(self._admin.user_list)
        policies: dict[str, Any] = self._call(self._admin.policy_list)
        for name, policy in self.policies.items():
            if _canonical(was := policies.get(_NAME.format(name))) != _canonical(policy):
                yield Step(SERVER, name, "update" if was else "create", "policy", was, policy)
            user = users.get(name, {})
            if user.get("status") != "enabled" or SECRET not in self.credentials.read(name):
                yield Step(SERVER, name, "update" if user else "create", "user")
            if (has := user.get("policyName")) != _NAME.format(name):
                yield Step(SERVER, name, "update" if has else "create", "policy of the user", has, _NAME.format(name))
        for known, was in policies.items():
            name = known.removeprefix(_NAME.format(""))
            own = user_policy(name, (), self.warehouse)["Statement"][0]
            if name == known or name in self.policies or _canonical(own) not in _canonical(was).get("Statement", ()):
                continue
            if users.get(name, {}).get("policyName") == known:
                yield Step(SERVER, name, "remove", "user")
            yield Step(SERVER, name, "remove", "policy", was)

    def apply(self, step: Step) -> None:
        """Do one step; it may be done twice.

        A secret is in its file before the store has it, so that a stop between the two loses none.
        """
        name = _NAME.format(step.principal)
        match step.action, step.what:
            case "remove", "user":
                self._call(lambda: self._admin.user_remove(step.principal))
            case "remove", _:
                self._call(lambda: self._admin.policy_remove(name))
            case _, "user":
                secret = self.credentials.read(step.principal).get(SECRET) or new_secret()
                self.credentials.set(step.principal, {KEY: step.principal, SECRET: secret})
                self._call(lambda: self._admin.user_add(step.principal, secret))
            case _, "policy":
                self._call(lambda: self._admin.policy_add(name, policy=step.now))
            case _:
                self._call(lambda: self._admin.policy_set(name, user=step.principal))

    def _call(self, request: Callable[[], str]) -> Any:
        from minio.error import MinioAdminException
        from urllib3.exceptions import HTTPError

        try:
            answer = request()
        except MinioAdminException as error:
            fix = f"Give {_SETTING} a key that may administer it, and check that it has MinIO's API."
            raise AttentionError(f"{self.address}: {str(error).strip()}. {fix}") from None
        except HTTPError as error:
            name = type(error).__name__
            raise UnavailableError(f"{self.address}: no answer ({name}). Start the store, then again.") from None
        return json.loads(answer) if answer else {}


def _administration(url: str) -> tuple[MinioAdmin, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.username or not parts.password:
        raise UsageError(f"{_SETTING}: is not of the form http(s)://key:secret@host:9000.")
    try:
        from minio import MinioAdmin
        from minio.credentials.providers import StaticProvider
    except ImportError:
        fix = "Install it: pip install -r requirements/stack.txt."
        raise UsageError(f"{_SETTING}: needs the package minio. {fix}") from None
    from urllib3 import PoolManager, Retry

    address = parts.netloc.rpartition("@")[2]
    provider = StaticProvider(unquote(parts.username), unquote(parts.password))
    pool = PoolManager(timeout=20, retries=Retry(3, backoff_factor=0.2))
    secure = parts.scheme == "https"
    return MinioAdmin(endpoint=address, credentials=provider, secure=secure, http_client=pool), address


def _policy(name: str, rights: Sequence[Right], warehouse: str) -> dict[str, Any]:
    if name != PLATFORM:
        return user_policy(name, rights, warehouse)
    arn = f"arn:aws:s3:::{bucket_and_prefix(warehouse)[0]}"
    everything = {"Effect": "Allow", "Action": ["s3:*"], "Resource": [arn, f"{arn}/*"]}
    return {"Version": VERSION, "Statement": [everything]}


def _canonical(value: Any) -> Any:
    """A policy without the order of its lists, which a store may change, and without lists of one."""
    match value:
        case dict():
            return {key: _canonical(each) for key, each in value.items()}
        case list():
            return sorted((_canonical(each) for each in value), key=repr)
        case str():
            return [value]
        case _:
            return value
