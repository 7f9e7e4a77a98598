"""Connect to a catalog with timeouts and durable commits.

Requests to a REST catalog or an S3 store that stalls time out, and a commit to SQLite survives a power loss.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pyiceberg.catalog import Catalog, CatalogType, infer_catalog_type, load_catalog
from pyiceberg.utils.config import Config

from mesh_platform import faults

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

# Seconds. By default the REST client waits for ever; the S3 client waits 1 and 3 seconds, and tries three times.
TIMEOUTS = {
    "rest.connect-timeout": "5",
    "rest.request-timeout": "30",
    "s3.connect-timeout": "5",
    "s3.request-timeout": "20",
}


def catalog_settings(name: str) -> dict[str, Any]:
    """Return what pyiceberg's own settings say of the catalog `name`; nothing if they do not name it."""
    # Read now: pyiceberg's own copy dates from its import.
    return {**(Config().get_catalog_config(name) or {})}


def connect_catalog(name: str, **properties: str) -> Catalog:
    """Open the catalog `name`. A property comes from `properties`, else pyiceberg's own settings, else `TIMEOUTS`.

    `rest.connect-timeout` and `rest.request-timeout` (seconds without a byte) are additions of this function. Raises
    what pyiceberg raises.
    """
    found: dict[str, Any] = {**TIMEOUTS, **catalog_settings(name), **properties}
    kind = CatalogType(str(found["type"]).lower()) if found.get("type") else infer_catalog_type(name, found)
    if kind is CatalogType.REST and found.get("uri"):
        return _connect_rest(name, found)
    catalog = load_catalog(name, **found)
    engine: Engine | None = getattr(catalog, "engine", None)
    if engine is not None and engine.dialect.name == "sqlite":
        _outlive_power_loss(engine)
    if engine is not None and faults.armed("commit."):
        _pass_fault_point(engine)
    return catalog


def _connect_rest(name: str, properties: dict[str, Any]) -> Catalog:
    from pyiceberg.catalog.rest import RestCatalog
    from requests import Session

    timeout = float(properties["rest.connect-timeout"]), float(properties["rest.request-timeout"])

    class TimedRestCatalog(RestCatalog):
        def _create_session(self) -> Session:
            session = super()._create_session()
            session.request = partial(session.request, timeout=timeout)  # type: ignore[method-assign]
            return session

    return TimedRestCatalog(name, **properties)


def _outlive_power_loss(engine: Engine) -> None:
    """Let SQLite sync the folder too when a commit removes its journal; else the journal may return and undo it.

    EXTRA does so; FULL, the default, does not: https://sqlite.org/pragma.html#pragma_synchronous
    """
    from sqlalchemy import event

    event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA synchronous = EXTRA"))
    # Connections opened so far, to look for the catalog's own tables, lack the setting.
    engine.dispose()


def _pass_fault_point(engine: Engine) -> None:
    """Pass `commit.pointing` in each transaction that makes a table's new metadata the current one."""
    from sqlalchemy import event

    @event.listens_for(engine, "after_cursor_execute")
    def note(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        connection.info["pointing"] = statement.startswith("UPDATE iceberg_tables SET metadata_location")

    @event.listens_for(engine, "commit")
    def pass_point(connection: Connection) -> None:
        if connection.info.pop("pointing", False):
            faults.point("commit.pointing")
