"""Superset's settings for the mesh. It runs in Superset's own environment, without the platform's packages.

MESH_SUPERSET_HOME names the folder of its database, its secrets and the DuckDB files in `data/`. The containers of
docker-compose.yml read this file too: there MESH_SUPERSET_SECRET_KEY and MESH_SUPERSET_DATABASE have the key and the
address of the database.
"""

import json
import os
from pathlib import Path
from typing import Any

from flask import g, has_request_context
from sqlalchemy.engine.url import URL
from sqlalchemy.pool import NullPool

HOME = Path(os.environ["MESH_SUPERSET_HOME"])

SECRET_KEY = (
    os.environ.get("MESH_SUPERSET_SECRET_KEY") or json.loads((HOME / "secrets.json").read_text())["secret_key"]
)
SQLALCHEMY_DATABASE_URI = os.environ.get("MESH_SUPERSET_DATABASE", f"sqlite:///{HOME / 'superset.db'}?timeout=30")
# No result is kept: a dashboard shows a new commit at its next load, and nobody sees what another may see.
CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
DATA_CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
RESULTS_BACKEND = None
# Jinja in SQL could read what the server knows. A dashboard that names roles is for these alone.
FEATURE_FLAGS = {"ENABLE_TEMPLATE_PROCESSING": False, "ALERT_REPORTS": False, "DASHBOARD_RBAC": True}
# Dashboards are for people in the house, and its pages ask no other host.
LOGO_TARGET_PATH = "/dashboard/list/"
FAB_ADD_SECURITY_API = True
SQLLAB_TIMEOUT = 30
# Seconds; nothing here starts a worker that would ask again.
GLOBAL_ASYNC_QUERIES_POLLING_DELAY = 500

# The guard. DuckDB itself keeps it, for all SQL of the connection, and no SQL can undo it.
GUARD = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "memory_limit": "1GB",
    "temp_directory": "",
    "lock_configuration": "true",
}
ANALYST = "analyst"


def _role(roles: list[str]) -> str:
    """The role by whose file the user reads: analyst without a request, and for administrators."""
    if not has_request_context() or getattr(g, "user", None) is None:
        return ANALYST
    own = {role.name for role in getattr(g.user, "roles", ())}
    if "Admin" in own:
        return ANALYST
    for role in roles:
        if role in own:
            return role
    raise PermissionError("You have no role of the mesh. An administrator gives one of: " + ", ".join(roles) + ".")


def DB_CONNECTION_MUTATOR(
    uri: Any, params: dict[str, Any], username: str | None, security_manager: Any, source: Any
) -> tuple[Any, dict[str, Any]]:
    """Connect to the present file of the user's role, guarded, whatever the database's own settings say."""
    if uri.get_backend_name() != "duckdb":
        raise PermissionError(f"{uri.get_backend_name()}: this Superset reads the mesh alone, by duckdb://.")
    current = json.loads((HOME / "data" / "current.json").read_text())
    file = HOME / "data" / current[_role(list(current))]["file"]
    # Without a pool: a connection that waits would keep showing the file that it opened.
    return URL.create("duckdb", database=str(file)), {
        "poolclass": NullPool,
        "connect_args": {"read_only": True, "config": dict(GUARD)},
    }


def SQL_QUERY_MUTATOR(sql: str, **kwargs: Any) -> str:
    """Refuse SQL that names DuckDB's logs: no query of a dashboard has anything to write there."""
    if "enable_logging" in sql.lower():
        raise PermissionError("enable_logging: queries write no logs. Leave it out.")
    return sql
