"""Settings come from the environment; what is not set follows from the repository and its state folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mesh_platform.errors import UsageError
from mesh_platform.settings import Settings, find_root


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROOT", "STATE", "BROKER_URL", "CLOCK", "REQUIRE_SERVICES"):
        monkeypatch.delenv(f"MESH_{name}", raising=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a folder deep inside it."""
    (tmp_path / "domains" / "north" / "models").mkdir(parents=True)
    return tmp_path


def test_root_is_the_nearest_folder_above_with_domains(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_root(root) == root
    monkeypatch.chdir(root / "domains" / "north" / "models")
    settings = Settings()
    assert settings.root == root
    assert settings.state_dir == root / ".mesh"
    assert settings.broker == f"sqlite:///{root}/.mesh/broker.db"
    assert settings.require_services is False


def test_inner_repository_wins(root: Path) -> None:
    (root / "domains" / "north" / "domains").mkdir()
    assert find_root(root / "domains" / "north" / "models") == root / "domains" / "north"


def test_outside_of_a_repository_is_wrong_use() -> None:
    with pytest.raises(UsageError, match=r"/: no folder here or above has 'domains/'\. Go into .* or set MESH_ROOT"):
        find_root(Path("/"))


def test_environment_is_read(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MESH_ROOT", str(root))
    monkeypatch.setenv("MESH_STATE", "elsewhere/state")
    monkeypatch.setenv("MESH_BROKER_URL", "amqp://guest:guest@localhost:5672/")
    monkeypatch.setenv("MESH_REQUIRE_SERVICES", "1")
    monkeypatch.setenv("MESH_FAULT", "x:kill")  # other variables of the mesh are no fault
    settings = Settings()
    assert settings.state_dir == root / "elsewhere" / "state"
    assert settings.broker == "amqp://guest:guest@localhost:5672/"
    assert settings.require_services is True
    monkeypatch.setenv("MESH_STATE", str(tmp_path / "absolute"))
    assert Settings().state_dir == tmp_path / "absolute"


def test_a_state_folder_that_is_not_utf_8_is_wrong_use(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_ROOT", str(root))
    monkeypatch.setenv("MESH_STATE", "caf\udce9")
    with pytest.raises(UsageError, match=r"caf\\xe9': the path of the state folder is not UTF-8\. .* MESH_STATE"):
        _ = Settings().state_dir


@pytest.mark.parametrize(
    ("clock", "now"),
    [
        ("2025-10-31T12:00:00Z", "2025-10-31T12:00:00+00:00"),
        ("2025-10-31T12:00:00+02:00", "2025-10-31T10:00:00+00:00"),
        ("2025-10-31T12:00:00", "2025-10-31T12:00:00+00:00"),
    ],
)
def test_clock_stands_for_now_in_utc(root: Path, monkeypatch: pytest.MonkeyPatch, clock: str, now: str) -> None:
    settings = Settings(root=root)
    settings.state_dir.mkdir()
    settings.clock_file.write_text(clock + "\n")
    assert settings.now().isoformat() == now
    settings.clock_file.write_text("2001-01-01T00:00:00Z")
    monkeypatch.setenv("MESH_CLOCK", clock)
    assert Settings(root=root).now().isoformat() == now


def test_without_a_clock_it_is_now(root: Path) -> None:
    assert abs(Settings(root=root).now() - datetime.now(UTC)) < timedelta(hours=1)
    assert Settings(root=root).now().tzinfo == UTC
