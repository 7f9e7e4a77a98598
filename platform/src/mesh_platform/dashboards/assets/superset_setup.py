"""Set up Superset's database: its tables, roles, users and the connection. It may run again.

It runs in Superset's own environment, in one process: each call of its command line would import it all again.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from flask_migrate import upgrade
from superset.app import create_app

HOME = Path(os.environ["MESH_SUPERSET_HOME"])
UUID, NAME = sys.argv[1:3]


def main() -> None:
    """Set up everything. The roles are those of the DuckDB files, the passwords those of secrets.json."""
    passwords = json.loads((HOME / "secrets.json").read_text())["passwords"]
    roles = list(json.loads((HOME / "data" / "current.json").read_text()))
    app = create_app()
    with app.app_context():
        import superset
        from superset.extensions import db, security_manager
        from superset.models.core import Database

        upgrade(directory=str(Path(superset.__file__).parent / "migrations"))
        app.appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        database = db.session.query(Database).filter_by(uuid=UUID).one_or_none()
        if database is None:
            database = Database(uuid=UUID)
            db.session.add(database)
        database.database_name, database.expose_in_sqllab = NAME, True
        # The settings put the file of each user in its place.
        database.set_sqlalchemy_uri("duckdb:///mesh.duckdb")
        db.session.flush()
        security_manager.add_permission_view_menu("database_access", database.perm)
        db.session.commit()
        reads = security_manager.find_permission_view_menu("database_access", database.perm)
        for name in roles:
            role = security_manager.add_role(name)
            given = [each for base in ("Gamma", "sql_lab") for each in security_manager.find_role(base).permissions]
            role.permissions = [*dict.fromkeys([*(each for each in given if not _writes(each)), reads])]
        db.session.commit()
        for name, password in passwords.items():
            role = security_manager.find_role("Admin" if name == "admin" else name)
            user = security_manager.find_user(name)
            if user is None:
                mail = f"{name}@localhost"
                security_manager.add_user(name, name, "of the mesh", mail, role, password=password)
            else:
                user.roles = [role]
        db.session.commit()


def _writes(permission: Any) -> bool:
    """Whether a permission lets its holder change what is deployed, which comes from the repository."""
    return permission.permission.name == "can_write" and permission.view_menu.name in _DEPLOYED


_DEPLOYED = ("Chart", "Dashboard", "Dataset")

main()
