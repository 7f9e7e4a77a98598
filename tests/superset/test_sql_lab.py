"""SQL Lab refuses what leaves the file."""

from __future__ import annotations

from typing import Any

import pytest
from mesh_platform.dashboards.superset_ids import DATABASE_ID
from mesh_platform.errors import MeshError
from superset_server import Superset

pytestmark = pytest.mark.superset
NORTH = "WH-NORTH"


TRIES = [
    "select * from read_csv('/etc/passwd')",
    "select * from '/etc/passwd'",
    "select * from read_text('/etc/hostname')",
    "select * from glob('/*')",
    "select * from parquet_scan('{state}/warehouse/**/*.parquet')",
    "copy (select 1) to '{state}/out.csv'",
    "export database '{state}/out'",
    "attach '{state}/broker.db'",
    "attach '{state}/superset/superset.db' (type sqlite)",
    "install httpfs",
    "load httpfs",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "reset memory_limit",
    "pragma profiling_output='{state}/out.json'",
    "select 'enable_logging'",
    "create table logistics_core.other as select 1",
    "delete from logistics_core.dim_date",
    "select getenv('HOME')",
    "select mesh_pseudonym('C-NORTH-00001')",
    "select * from ab_user",
]


def test_sql_lab_refuses_what_leaves_the_file_also_to_an_administrator_who_changes_the_connection(
    superset: Superset,
) -> None:
    state = superset.state.folder
    with superset.session("admin") as admin:
        found = admin.send("GET", "database/").json()["result"]
        number = next(each["id"] for each in found if each["uuid"] == DATABASE_ID)

        def run(sql: str) -> Any:
            body = {"database_id": number, "sql": sql.format(state=state), "schema": "main", "runAsync": False}
            return admin.send("POST", "sqllab/execute/", json=body).json()

        assert run("select count(*) as n from logistics_core.dim_date")["data"][0]["n"] > 0
        undone = (
            '{"engine_params": {"connect_args": {"read_only": false, "config": {"enable_external_access": "true"}}}}'
        )
        changes: list[dict[str, Any]] = [
            {},
            {"extra": undone, "allow_dml": True, "allow_ctas": True, "allow_cvas": True},
            {"sqlalchemy_uri": "duckdb:///:memory:?enable_external_access=true"},
        ]
        for change in changes:
            if change:
                admin.send("PUT", f"database/{number}", json=change)
            for sql in TRIES:
                with pytest.raises(MeshError):
                    pytest.fail(f"{change}: {sql}: {run(sql)}")
            assert run("select count(*) as n from logistics_core.dim_date")["data"][0]["n"] > 0
        assert not [*state.glob("out*")]
        other = {"database_name": "other", "sqlalchemy_uri": f"sqlite:///{state}/superset/superset.db"}
        with pytest.raises(MeshError):
            admin.send("POST", "database/", json=other)
        admin.send("PUT", f"database/{number}", json={"allow_dml": False, "extra": "{}"})
