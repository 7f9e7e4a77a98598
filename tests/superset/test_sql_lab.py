"""SQL Lab refuses what leaves the file."""

from __future__ import annotations

from typing import Any

import pytest
from mesh_platform.dashboards.superset_ids import DATABASE_ID
from mesh_platform.errors import MeshError
from superset_server import Superset
from superset_tries import changes, tries

pytestmark = pytest.mark.superset
COUNT = "select count(*) as n from logistics_core.dim_date"
ALLOWED = {"allow_dml": True, "allow_ctas": True, "allow_cvas": True}
# Superset's own words, before DuckDB is asked: the connection allows no changes, or it cannot read the statement.
REFUSED = ("does not allow", "Error parsing")


def test_sql_lab_refuses_what_leaves_the_file_also_to_an_administrator_who_changes_the_connection(
    superset: Superset,
) -> None:
    state = superset.state.folder
    with superset.session("admin") as admin:
        found = admin.send("GET", "database/").json()["result"]
        number = next(each["id"] for each in found if each["uuid"] == DATABASE_ID)

        def run(sql: str) -> Any:
            body = {
                "database_id": number,
                "sql": sql.replace("STATE", str(state)),
                "schema": "main",
                "runAsync": False,
            }
            return admin.send("POST", "sqllab/execute/", json=body).json()

        for written in changes():
            change = written.replace("STATE", str(state))
            if change.startswith("{"):
                admin.send("PUT", f"database/{number}", json={"extra": change, **ALLOWED})
            elif change.startswith("duckdb:"):
                admin.send("PUT", f"database/{number}", json={"extra": "{}", "sqlalchemy_uri": change})
            for tried in tries():
                with pytest.raises(MeshError) as refused:
                    pytest.fail(f"{change}: {tried.sql}: {run(tried.sql)}")
                words = str(refused.value)
                assert any(each in words for each in (tried.answer, *REFUSED)), (change, tried.sql, words)
            assert run(COUNT)["data"][0]["n"] > 0
        assert not [*state.glob("out*")]
        usual = {"extra": "{}", "sqlalchemy_uri": "duckdb:///mesh.duckdb"}
        admin.send("PUT", f"database/{number}", json={**usual, **dict.fromkeys(ALLOWED, False)})
        other = {"database_name": "other", "sqlalchemy_uri": f"sqlite:///{state}/superset/superset.db"}
        with pytest.raises(MeshError):
            admin.send("POST", "database/", json=other)
        second = {"database_name": "second", "sqlalchemy_uri": f"duckdb:///{state}/broker.db"}
        number = admin.send("POST", "database/", json={**second, "expose_in_sqllab": True}).json()["id"]
        assert run(COUNT)["data"][0]["n"] > 0
        with pytest.raises(MeshError, match="disabled by configuration"):
            run("select * from read_csv('/etc/passwd')")
        admin.send("DELETE", f"database/{number}")
