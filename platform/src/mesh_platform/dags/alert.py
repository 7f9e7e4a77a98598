"""Alerts to owners about failed tasks and stale products, sent to the targets in MESH_ALERTS.

`log` writes to the log of the process that noticed; `file:PATH` appends a line of JSON; others are URLs of Apprise
(https://github.com/caronc/apprise), such as jsons://host/path for a webhook or mailtos://user:password@host?to=...
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mesh_platform.contract.contract import Contract
from mesh_platform.dags.docs import words
from mesh_platform.errors import AttentionError, MeshError, UnavailableError, UsageError
from mesh_platform.files import write_whole
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """What happened to `subject`, a table or a task, and the owners to contact."""

    subject: str
    message: str
    owner: str
    steward: str
    contact: str
    on_call: str

    def text(self) -> str:
        """The message with the owners to contact."""
        return f"{self.message}\n{self.owner} ({self.contact}, at night {self.on_call}); data steward {self.steward}."


def send(alert: Alert, settings: Settings) -> None:
    """Send an alert to every target of `settings.alerts`. Raises AttentionError at the end for all failed targets."""
    failed = []
    for target in settings.alerts.split():
        # The rest of a URL may contain a password.
        name = target if target == "log" else f"{target.partition(':')[0]}:..."
        try:
            _send(alert, target, settings.state_dir)
        except Exception as error:
            failed.append(f"{name} ({error if isinstance(error, MeshError) else type(error).__name__})")
    if failed:
        raise AttentionError(f"'{alert.message}' was not sent to {', '.join(failed)}. Check MESH_ALERTS.")


def _send(alert: Alert, target: str, folder: Path) -> None:
    scheme, _, rest = target.partition(":")
    if target == "log":
        log.error("%s", alert.text())
    elif scheme == "file":
        line = json.dumps({"at": datetime.now(UTC).isoformat(), **asdict(alert)})
        with (folder / rest).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    else:
        import apprise

        notifier = apprise.Apprise()
        if not notifier.add(target):
            raise UsageError("no target: there is log, file:PATH, and the URLs of Apprise")
        if not notifier.notify(title=alert.subject, body=alert.text()):
            raise UnavailableError("it rejected the message")


def tell_of_failure(owners: Mapping[str, str], context: Mapping[str, Any]) -> None:
    """Alert the owners of a DAG (see `Owners`) that one of its tasks failed after all retries. Airflow calls it."""
    instance = context["task_instance"]
    subject = f"{instance.dag_id}.{instance.task_id}"
    # There is no exception if the task was killed.
    reason = context.get("exception") or "it was killed or lost. See its log."
    send(_alert(subject, f"{subject} failed in {instance.run_id}: {reason}", owners), Settings())


def tell_of_stale_product(table: str, owners: Mapping[str, str], context: Mapping[str, Any] | None = None) -> None:
    """Alert the owners of a product whose newest event is older than promised. Airflow calls it after a deadline.

    The lake decides, because Airflow does not know what the command line ingests and builds. Each newest event causes
    one alert; if the lake is unreachable, every call does.
    """
    from mesh_platform.dags.tasks import read_ages

    settings = Settings()
    try:
        mesh = load_remembered(settings)
        (found,) = read_ages(mesh, [mesh.contract(table)])
    except MeshError as error:
        send(
            _alert(table, f"{table}: may be older than promised, and cannot be looked at: {error}", owners), settings
        )
        return
    _alert_once(found, owners, settings)


def look_at_ages(mesh: Mesh, contracts: Sequence[Contract], owners: Mapping[str, str]) -> list[dict[str, Any]]:
    """The result of `read_ages`; it alerts the owners of a product that does not keep its latency, once.

    Airflow's deadlines cover freshness, because they know the time of an event, but not what waits to be built.
    """
    from mesh_platform.dags.tasks import read_ages

    settings = Settings(root=mesh.root)
    rows = read_ages(mesh, contracts)
    for row, contract in zip(rows, contracts, strict=True):
        if contract.latency and row["fresh"] is False:
            _alert_once(row, owners, settings)
    return rows


def tell_of_rows(mesh: Mesh, table: str, select: str) -> list[str]:
    """Alert about each row of `select`, a query on `table`, once for each `id`; return the ids of new rows.

    Its columns are `id`, `domain`, whose owners are alerted, and `message`. An id that it no longer returns is
    forgotten. Raises what the query raises, and AttentionError for a target that failed; the next call goes on there.
    """
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.query.query import run_query, views_named
    from mesh_platform.query.session import open_session

    settings = Settings(root=mesh.root)
    with open_session(mesh, open_catalog(settings), only=views_named(mesh, select)) as session:
        rows = run_query(session, select).to_pylist()
    reported = settings.state_dir / "told" / f"{table}.rows"
    before = set(reported.read_text(encoding="utf-8").splitlines()) if reported.exists() else set()
    told = before & {row["id"] for row in rows}
    new = [row for row in rows if row["id"] not in told]
    try:
        for row in new:
            send(_alert(table, row["message"], mesh.domain(row["domain"]).owners.model_dump()), settings)
            told.add(row["id"])
    finally:
        write_whole(reported, "".join(f"{name}\n" for name in sorted(told)).encode())
    return [row["id"] for row in new]


def _alert_once(found: Mapping[str, Any], owners: Mapping[str, str], settings: Settings) -> None:
    """Alert the owners of a stale product, once for each time from which its age counts."""
    table, domain = str(found["table"]), str(found["table"]).partition(".")[0]
    reported, since = settings.state_dir / "told" / table, str(found["since"])
    if found["fresh"] or (reported.exists() and reported.read_text() == since):
        log.info("%s: fresh by now, or reported already.", table)
        return
    promise = words(timedelta(seconds=found["promise_s"]))
    age = words(timedelta(seconds=found["age_s"])) if found["age_s"] is not None else ""
    if found["since"] != found["newest_event"]:
        message = f"{table}: a change of what it is built from has waited for {age}; its contract promises {promise}."
        message += f" Look at {domain}__build."
    else:
        message = f"{table}: the newest event is {f'{age} old' if age else 'not there at all'}; "
        message += f"its contract promises {promise}."
        if found["ahead"]:
            message += f" Rows of up to {found['ahead']} do not count: that is over a day after now."
        message += f" Look at its producers and at {domain}__ingest."
    send(_alert(table, message, owners), settings)
    reported.parent.mkdir(exist_ok=True)
    reported.write_text(since)


def _alert(subject: str, message: str, owners: Mapping[str, str]) -> Alert:
    return Alert(subject, message, owners["team"], owners["steward"], owners["contact"], owners["on_call"])
