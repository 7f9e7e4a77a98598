"""Deadlines for fresh products, which count from the newest event that Airflow knows.

The scheduler evaluates them when a run of a freshness DAG begins, so nothing of the lake may be imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.definitions.deadline import BaseDeadlineReference

from mesh_platform.contract.contract import AHEAD
from mesh_platform.errors import MeshError
from mesh_platform.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


# The number of asset events in which to look for a newest event; a whole history would take the scheduler too long.
_LOOK_BACK = 50


@dataclass(eq=False)
class NewestEvent(BaseDeadlineReference):
    """The time of the newest event in `table` (`<domain>.<table>`), by the newest event of its asset.

    For a table that no DAG has built yet, the time when Airflow first registered it.
    """

    table: str = ""

    def serialize_reference(self) -> dict[str, Any]:
        """Convert to the form that Airflow stores."""
        return {**super().serialize_reference(), "table": self.table}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> NewestEvent:
        """Restore from the form that Airflow stores."""
        return cls(reference_data["table"])

    def _evaluate_with(self, *, session: Session, **_kwargs: object) -> datetime | None:
        from airflow.models.asset import AssetEvent, AssetModel
        from sqlalchemy import select

        asset = session.scalar(select(AssetModel).where(AssetModel.name == self.table))
        if asset is None:
            return None
        query = select(AssetEvent.extra).where(AssetEvent.asset_id == asset.id).order_by(AssetEvent.id.desc())
        query = query.limit(_LOOK_BACK)
        try:
            now = Settings().now()
        except MeshError:
            # A deadline in the past, so that the alert for it reports the fault.
            return datetime.now(UTC) - timedelta(days=36500)
        times = [time for extra in session.scalars(query) if (time := _time_in(extra)) and time <= now + AHEAD]
        if not times:
            known_since: datetime = asset.created_at
            return known_since
        # Deadlines use the system clock; the time of an event may be that of a simulation with its own clock.
        return datetime.now(UTC) - (now - times[0])


def _time_in(extra: Any) -> datetime | None:
    """The newest event in the `extra` of an asset event, which may come from anybody and contain anything."""
    try:
        return datetime.fromisoformat(extra["newest_event"]).astimezone(UTC)
    except (TypeError, KeyError, ValueError):
        return None


class MeshPlugin(AirflowPlugin):
    """Registers the deadline with Airflow's scheduler and API server; the package's entry point names it."""

    name = "mesh"
    deadline_references: ClassVar[list[type]] = [NewestEvent]
