"""When a product must be fresh again: the newest event that Airflow heard of arrives, the time to count from leaves.

The scheduler asks for it when a run of a freshness DAG begins, so nothing of the lake may be imported here.
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


# Of so many events one tells of a newest event; all of a long history would take the scheduler's time.
_LOOK_BACK = 50


@dataclass(eq=False)
class NewestEvent(BaseDeadlineReference):
    """The time of the newest event in a table, as the newest event of its asset tells; `table` is `<domain>.<table>`.

    Of a table that no DAG has built yet, the time when Airflow came to know it.
    """

    table: str = ""

    def serialize_reference(self) -> dict[str, Any]:
        """As Airflow keeps it."""
        return {**super().serialize_reference(), "table": self.table}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> NewestEvent:
        """From what Airflow kept."""
        return cls(reference_data["table"])

    def _evaluate_with(self, *, session: Session, **_kwargs: object) -> datetime | None:
        from airflow.models.asset import AssetEvent, AssetModel
        from sqlalchemy import select

        asset = session.scalar(select(AssetModel).where(AssetModel.name == self.table))
        if asset is None:
            return None
        told = select(AssetEvent.extra).where(AssetEvent.asset_id == asset.id).order_by(AssetEvent.id.desc())
        told = told.limit(_LOOK_BACK)
        try:
            now = Settings().now()
        except MeshError:
            # Past at once: who is called then says what is wrong.
            return datetime.now(UTC) - timedelta(days=36500)
        times = [time for extra in session.scalars(told) if (time := _time_in(extra)) and time <= now + AHEAD]
        if not times:
            known_since: datetime = asset.created_at
            return known_since
        # Deadlines are times of the machine; an event's time may be one of a simulation, with a clock of its own.
        return datetime.now(UTC) - (now - times[0])


def _time_in(extra: Any) -> datetime | None:
    """The newest event that an asset event tells of; anybody may have sent it, with anything."""
    try:
        return datetime.fromisoformat(extra["newest_event"]).astimezone(UTC)
    except (TypeError, KeyError, ValueError):
        return None


class MeshPlugin(AirflowPlugin):
    """Makes the deadline known to Airflow's scheduler and API server; the package's entry point names it."""

    name = "mesh"
    deadline_references: ClassVar[list[type]] = [NewestEvent]
