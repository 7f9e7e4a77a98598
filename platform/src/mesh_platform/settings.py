"""Settings from the environment: the repository, the state folder, the broker, the clock.

The catalog and its storage are configured as pyiceberg does it (`PYICEBERG_CATALOG__MESH__*`), not here.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SecretStr, model_validator

from mesh_platform.errors import AttentionError, UsageError

_PREFIX = "MESH_"


class Settings(BaseModel):
    """The settings of the platform. Each field is read from the variable `MESH_<FIELD>`, unless it is given."""

    root: Path = Field(
        default_factory=lambda: find_root(Path.cwd()), description="The repository, which has `domains/`."
    )
    state: Path = Field(
        default=Path(".mesh"), description="The folder of broker, catalog and warehouse; relative to the root."
    )
    broker_url: str = Field(
        default="", description="sqlite:///path or amqp://...; if empty, a file in the state folder."
    )
    clock: datetime | None = Field(default=None, description="An ISO time to use as the current time.")
    orphan_age_s: int = Field(
        default=7200,
        ge=0,
        le=10**9,
        description="Age in seconds from which a file that no snapshot names is removed; no reader takes so long.",
    )
    alerts: str = Field(
        default="log",
        description="Where Airflow reports failures and stale products: log, file:PATH, Apprise URLs; by spaces.",
    )
    openmetadata_url: str = Field(
        default="", description="The address of OpenMetadata, where `mesh catalog publish` keeps it in step."
    )
    # A secret is not shown where settings are printed.
    openmetadata_token: SecretStr = Field(default=SecretStr(""), description="The token of a bot of OpenMetadata.")
    superset_url: str = Field(
        default="", description="The address of Superset: for `mesh dashboards`, and for links in OpenMetadata."
    )
    rabbitmq_admin_url: SecretStr = Field(
        default=SecretStr(""),
        description="RabbitMQ's management API, for `mesh grants`: http://admin:password@host:15672/vhost.",
    )
    catalog_admin_url: SecretStr = Field(
        default=SecretStr(""),
        description="Apache Polaris' management API, for `mesh grants`: http://id:secret@host:8181.",
    )
    s3_admin_url: SecretStr = Field(
        default=SecretStr(""),
        description="MinIO's administration API, for `mesh grants`: http://key:secret@host:9000.",
    )
    spark_remote: SecretStr = Field(
        default=SecretStr(""),
        description="The address of Spark, sc://host:port, to run whole queries of builds, and `mesh parity`.",
    )
    spark_catalog: str = Field(
        default="",
        description="The lake's catalog in Spark; if empty, it reads tables at their paths, as only Sail can.",
    )
    require_services: bool = Field(
        default=False, description="A missing service fails a test instead of skipping it."
    )

    flush_lines: int = Field(
        default=100_000, ge=1, description="Ingest writes after this many records at the latest."
    )
    # RabbitMQ closes a channel that leaves a message unacknowledged for half an hour.
    flush_seconds: float = Field(
        default=2.0, ge=0, le=600, description="Ingest writes after this many seconds at the latest."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_environment(cls, given: dict[str, Any]) -> dict[str, Any]:
        names = {name: f"{_PREFIX}{name.upper()}" for name in cls.model_fields}
        return {name: os.environ[variable] for name, variable in names.items() if variable in os.environ} | given

    @property
    def state_dir(self) -> Path:
        """The absolute path of the state folder. Raises UsageError if it is not UTF-8: URLs and metadata are."""
        path = (self.root / self.state).resolve()
        if not _is_utf8(path):
            raise UsageError(
                f"{os.fsencode(path)!r}: the path of the state folder is not UTF-8. Name another with MESH_STATE."
            )
        return path

    @property
    def broker(self) -> str:
        """The broker's URL; by default one SQLite file in the state folder."""
        return self.broker_url or f"sqlite:///{self.state_dir / 'broker.db'}"

    @property
    def clock_file(self) -> Path:
        """The file with the simulated current time, where a simulation has run in this state folder."""
        return self.state_dir / "clock"

    @property
    def has_external_catalog(self) -> bool:
        """Whether pyiceberg's own variables configure the catalog, rather than the state folder."""
        return any(name.startswith("PYICEBERG_CATALOG__MESH__") for name in os.environ)

    @property
    def has_lake(self) -> bool:
        """Whether there is a lake to open, rather than an empty one to make."""
        return self.has_external_catalog or any(
            (self.state_dir / name).exists() for name in ("catalog.db", "warehouse")
        )

    def now(self) -> datetime:
        """The current time in UTC: `MESH_CLOCK`, else the simulated clock of the state folder, else the system clock.

        A time without a zone is UTC. Raises AttentionError where the simulated clock is unreadable.
        """
        if self.clock is None and not self.clock_file.exists():
            return datetime.now(UTC)
        try:
            time = self.clock or datetime.fromisoformat(self.clock_file.read_text().strip())
        except (OSError, ValueError) as error:
            fix = "Write an ISO time into it, or remove it to go by the machine's clock."
            raise AttentionError(f"{self.clock_file}: holds no time. {fix}") from error
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` that has `domains/`. Raises UsageError where there is none."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "domains").is_dir():
            return folder
    raise UsageError(f"{start}: no folder here or above has 'domains/'. Go into the repository, or set MESH_ROOT.")
