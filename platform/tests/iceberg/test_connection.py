"""Catalogs are opened with pyiceberg's settings, and requests to a stalled one time out."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mesh_platform.errors import UnavailableError, UsageError
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.settings import Settings
from sqlalchemy import text


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path, state=Path("state"))


@pytest.fixture
def stalled() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def configure(monkeypatch: pytest.MonkeyPatch, **properties: str) -> None:
    for name, value in properties.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__MESH__{name.upper()}", value)


def test_a_rest_catalog_that_never_answers_is_given_up(
    settings: Settings, stalled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, type="rest", uri=stalled, rest__request_timeout="0.2")
    with pytest.raises(UnavailableError, match=r"the catalog does not answer.*Read timed out.*0\.2"):
        open_catalog(settings)


def test_the_type_is_read_from_the_uri_too(settings: Settings, stalled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, uri=stalled, rest__request_timeout="0.2")
    with pytest.raises(UnavailableError, match="Read timed out"):
        open_catalog(settings)


@pytest.mark.parametrize(
    "properties",
    [
        {"type": "rest"},
        {"type": "rest", "uri": "127.0.0.1:8181"},
        {"type": "bird", "uri": "http://127.0.0.1"},
        {"type": "sql", "uri": "nobody://x"},
        {"uri": "x"},
        {"type": "rest", "uri": "http://127.0.0.1", "rest__request_timeout": "soon"},
    ],
)
def test_settings_that_name_no_catalog_are_wrong_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, properties: dict[str, str]
) -> None:
    configure(monkeypatch, **properties)
    with pytest.raises(
        UsageError, match=r"^PYICEBERG_CATALOG__MESH__\*: .*(URI missing|bird|infer|nobody|adapters|soon).*unset"
    ):
        open_catalog(settings)


def test_a_store_that_stalls_is_given_up(
    settings: Settings, stalled: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    s3 = {"endpoint": stalled, "region": "us-east-1", "access_key_id": "a", "secret_access_key": "b"}
    s3 |= {"request_timeout": "1", "connect_timeout": "1"}
    configure(
        monkeypatch,
        type="sql",
        uri=f"sqlite:///{tmp_path}/catalog.db",
        warehouse="s3://lake/house",
        **{f"s3__{name}": value for name, value in s3.items()},
    )
    catalog = open_catalog(settings)
    catalog.create_namespace("shop")
    file = catalog._load_file_io({}).new_input("s3://lake/house/file")
    with pytest.raises(OSError, match="Timeout was reached"):
        file.exists()


def test_a_commit_into_sqlite_cannot_be_undone_by_a_power_loss(settings: Settings) -> None:
    # A journal whose removal was not synced may return and undo the commit: EXTRA (3) syncs it, FULL (2) does not.
    with open_catalog(settings).engine.connect() as connection:  # type: ignore[attr-defined]
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "delete"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 3


@pytest.mark.parametrize("sign", ["?", '"'])
def test_a_state_folder_that_no_catalog_or_view_can_name_is_refused(tmp_path: Path, sign: str) -> None:
    state = tmp_path / f"state{sign}1"
    with pytest.raises(UsageError, match=r"state.1: .*Name a folder without one with MESH_STATE"):
        open_catalog(Settings(root=tmp_path, state=state))
