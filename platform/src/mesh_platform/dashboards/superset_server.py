"""Superset's REST API, as far as dashboards are deployed by it: log in, export and import everything, delete."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self

import requests
import yaml

from mesh_platform.errors import AttentionError, UnavailableError

Kind = Literal["chart", "dashboard", "dataset"]
_TIMEOUT_S = 120


class Server:
    """A session of one user with a Superset. It leaves a `with` closed.

    Raises UnavailableError if the server does not answer, and AttentionError with its words if it refuses.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._http = requests.Session()
        # Loopback needs no proxy.
        self._http.trust_env = not self.url.startswith("http://127.0.0.1")
        body = {"username": user, "password": password, "provider": "db", "refresh": False}
        token = self.send("POST", "security/login", json=body).json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        self._http.headers["Referer"] = self.url
        self._http.headers["X-CSRFToken"] = self.send("GET", "security/csrf_token/").json()["result"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._http.close()

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request to `api/v1/<path>` and return the answer."""
        try:
            answer = self._http.request(method, f"{self.url}/api/v1/{path}", timeout=_TIMEOUT_S, **options)
        except requests.RequestException as error:
            fix = "Start it with 'make superset', or name another with --url."
            raise UnavailableError(f"{self.url}: Superset does not answer ({type(error).__name__}). {fix}") from error
        if answer.status_code >= 500:
            raise UnavailableError(f"{self.url}: {method} {path}: {answer.status_code} {answer.text[:500]}")
        if answer.status_code >= 400:
            raise AttentionError(f"{self.url}: {method} {path}: {answer.status_code} {answer.text[:1000]}")
        return answer

    def export_assets(self) -> dict[str, dict[str, Any]]:
        """Return all that the server has, by its path in the export."""
        content = self.send("GET", "assets/export/").content
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".yaml")]
            found = {name.partition("/")[2]: yaml.load(archive.read(name), yaml.CSafeLoader) for name in names}
        return {name: each for name, each in found.items() if name != "metadata.yaml"}

    def import_assets(self, assets: Mapping[str, Mapping[str, Any]]) -> None:
        """Create these assets, or overwrite those that the server has."""
        options = {"data": {"sparse": "true"}, "files": {"bundle": ("mesh.zip", archive_of(assets))}}
        self.send("POST", "assets/import/", **options)

    def numbers(self, kind: Kind) -> dict[str, int]:
        """Return the number that the server gives to each chart, dashboard or dataset, by UUID."""
        found: dict[str, int] = {}
        for page in range(1000):
            query = f"(columns:!(id,uuid),page:{page},page_size:100)"
            rows = self.send("GET", f"{kind}/", params={"q": query}).json()["result"]
            found |= {row["uuid"]: row["id"] for row in rows}
            if len(rows) < 100:
                break
        return found

    def roles(self) -> dict[str, int]:
        """Return the number of each role."""
        rows = self.send("GET", "security/roles/", params={"q": "(page_size:1000)"}).json()["result"]
        return {row["name"]: row["id"] for row in rows}

    def dashboard_roles(self) -> dict[str, list[str]]:
        """Return the roles that each dashboard is for, sorted, by UUID."""
        query = "(columns:!(uuid,roles.name),page_size:1000)"
        rows = self.send("GET", "dashboard/", params={"q": query}).json()["result"]
        return {row["uuid"]: sorted(role["name"] for role in row["roles"]) for row in rows}

    def set_dashboard_roles(self, number: int, roles: Iterable[int]) -> None:
        """Give a dashboard to these roles alone, or to all that may read its data if there are none."""
        self.send("PUT", f"dashboard/{number}", json={"roles": [*roles]})

    def delete(self, kind: Kind, number: int) -> None:
        """Delete a chart, dashboard or dataset."""
        self.send("DELETE", f"{kind}/{number}")


def archive_of(assets: Mapping[str, Mapping[str, Any]], kind: str = "assets") -> bytes:
    """Return a ZIP file that Superset imports."""
    content = io.BytesIO()
    about = {"version": "1.0.0", "type": kind, "timestamp": datetime.now(UTC).isoformat()}
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in {"metadata.yaml": about, **assets}.items():
            archive.writestr(
                f"mesh/{name}", yaml.dump(each, Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True)
            )
    return content.getvalue()
