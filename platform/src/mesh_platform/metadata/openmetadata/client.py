"""OpenMetadata's HTTP interface: a token, time limits, retries, pages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry

from mesh_platform.errors import AttentionError, UnavailableError, UsageError
from mesh_platform.settings import Settings

PAGE = 500
CONNECTIONS = 8
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_BUSY = (429, 500, 502, 503, 504)
# The release whose models the tests check requests with.
VERSION = "2.0"
_PATCH = "application/json-patch+json"


class Client:
    """A server. Every request is repeated where that can help; each one that the mesh sends may be done twice.

    Raises UsageError for an address that would carry the token in the clear. Requests raise UnavailableError where
    the server does not answer or is busy, and AttentionError where it refuses.
    """

    def __init__(self, url: str, token: str, attempts: int = 6, timeout_s: float = 60) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            fix = "Give http(s)://host[:port], without user and password."
            raise UsageError(f"MESH_OPENMETADATA_URL: no address of a server. {fix}")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            fix = "Use https; http is for loopback only."
            raise UsageError(f"MESH_OPENMETADATA_URL: {parts.hostname} would get the token in the clear. {fix}")
        if not token:
            fix = "Set it to the token of a bot, from Settings, Bots in OpenMetadata."
            raise UsageError(f"MESH_OPENMETADATA_TOKEN: is empty. {fix}")
        if not token.isascii() or any(char.isspace() for char in token):
            raise UsageError(
                "MESH_OPENMETADATA_TOKEN: is no token: it has spaces or special characters. Copy it again."
            )
        path = parts.path.rstrip("/").removesuffix("/v1").removesuffix("/api")
        self.address = f"{parts.scheme}://{parts.netloc}"
        self._base = f"{path}/api/v1"
        self._token = token
        self._attempts = attempts
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        retry = Retry(
            attempts - 1,
            # A redirect could carry the token elsewhere.
            redirect=0,
            status_forcelist=_BUSY,
            allowed_methods=None,
            backoff_factor=0.2,
            backoff_max=30,
            backoff_jitter=0.2,
            raise_on_status=False,
            raise_on_redirect=False,
        )
        # One server needs no manager of pools, which takes longer than a request.
        self._pool = urllib3.connection_from_url(
            self.address, maxsize=CONNECTIONS, block=True, retries=retry, timeout=timeout_s
        )

    def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """Return what is at `path`; None if there is nothing."""
        return self._send("GET", path, query, missing=True)

    def by_name(self, path: str, fqn: str, fields: str) -> dict[str, Any] | None:
        """Return an entity, also one that is marked as deleted; None if there is none."""
        asked = {"fields": fields} if fields else {}
        return self.get(f"{path}/name/{quote(fqn, safe='')}", include="all", **asked)

    def pages(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        """Yield all entities of a collection, in pages."""
        after: dict[str, str] = {}
        while True:
            page = self.get(path, **query, limit=str(PAGE), **after) or {}
            yield from page.get("data", ())
            if not (next_ := page.get("paging", {}).get("after")):
                return
            after = {"after": next_}

    def put(self, path: str, body: Any) -> dict[str, Any]:
        """Create or update by name; the answer."""
        return self._send("PUT", path, {}, body) or {}

    def add(self, method: str, path: str, body: Any, is_there: Callable[[], bool]) -> None:
        """Send what must not be done twice: after a failure, `is_there` says whether the server has it already."""
        for attempt in range(self._attempts):
            try:
                self._send(method, path, {}, body, repeat=False)
            except (UnavailableError, AttentionError) as error:
                if is_there():
                    return
                if attempt == self._attempts - 1 or isinstance(error, AttentionError):
                    raise
                time.sleep(min(30, 0.2 * 2**attempt))
            else:
                return

    def patch(self, path: str, fields: dict[str, Any]) -> None:
        """Set fields of an entity; None removes one. Fields are set as a whole, so that it may be done twice."""
        operations = [
            {"op": "remove", "path": f"/{name}"}
            if value is None
            else {"op": "add", "path": f"/{name}", "value": value}
            for name, value in fields.items()
        ]
        self._send("PATCH", path, {}, operations, content=_PATCH)

    def delete(self, path: str, **query: str) -> None:
        """Delete; nothing happens if it is not there."""
        self._send("DELETE", path, query, missing=True)

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: Any = None,
        content: str = "application/json",
        missing: bool = False,
        repeat: bool = True,
    ) -> dict[str, Any] | None:
        url = f"{self._base}/{path}" + (f"?{urlencode(query)}" if query else "")
        headers = self._headers if body is None else {**self._headers, "Content-Type": content}
        data = None if body is None else json.dumps(body).encode()
        what = f"{self.address}: {method} /v1/{path}"
        try:
            retries = None if repeat else Retry(0, redirect=0, raise_on_redirect=False)
            answer = self._pool.urlopen(method, url, body=data, headers=headers, retries=retries)
        except MaxRetryError as error:
            raise UnavailableError(f"{what}: no answer ({type(error.reason).__name__}). Try again later.") from None
        except HTTPError as error:
            raise UnavailableError(f"{what}: no answer ({type(error).__name__}). Try again later.") from None
        if answer.status == 404 and missing:
            return None
        # Some servers repeat what they were sent.
        reason = _reason(answer.data).replace(self._token, "***") if answer.status >= 300 else ""
        if answer.status in _BUSY:
            raise UnavailableError(f"{what}: {answer.status}, {reason}. Try again later.")
        if answer.status in (401, 403):
            fix = "Give MESH_OPENMETADATA_TOKEN the token of a bot that may do this."
            raise AttentionError(f"{what}: {answer.status}, {reason}. {fix}")
        if not 200 <= answer.status < 300:
            raise AttentionError(f"{what}: {answer.status}, {reason}.")
        try:
            found = json.loads(answer.data) if answer.data else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            fix = "Check that MESH_OPENMETADATA_URL is the address of OpenMetadata."
            raise AttentionError(f"{what}: the answer is no JSON object. {fix}")
        return found


def client_of(settings: Settings, attempts: int = 6) -> Client:
    """Return the server that settings name. Raises UsageError if they name none."""
    if not settings.openmetadata_url:
        fix = "Set it to the address of OpenMetadata, such as https://catalog.example.com."
        raise UsageError(f"MESH_OPENMETADATA_URL: is not set. {fix}")
    return Client(settings.openmetadata_url, settings.openmetadata_token.get_secret_value(), attempts)


def check_server(client: Client) -> dict[str, str]:
    """Return address and version of a server that answers, of a known version, and takes the token.

    Raises AttentionError for another version or a refused token, and UnavailableError where nothing answers.
    """
    found = client.get("system/version")
    version = str((found or {}).get("version", ""))
    if version.split("-")[0].split(".")[:2] != VERSION.split("."):
        fix = "Upgrade OpenMetadata, or try its version with `make openmetadata-check`."
        raise AttentionError(f"{client.address}: has version {version or 'unknown'}; {VERSION}.x is supported. {fix}")
    # The version is public; this is not.
    client.get("databases", limit="1")
    return {"address": client.address, "version": version, "token": "accepted"}


def _reason(data: bytes) -> str:
    try:
        found = json.loads(data)
        text = found.get("message") or found.get("responseMessage") or "no reason given"
    except (ValueError, AttributeError):
        text = data.decode("utf-8", "replace")
    return " ".join(str(text).split())[:300].rstrip(".") or "no reason given"
