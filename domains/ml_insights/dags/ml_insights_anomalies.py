"""Alerts the owners of a warehouse about each of its anomalies of the last three days, once, after each build."""

from datetime import timedelta
from functools import partial
from pathlib import Path

from airflow.sdk import DAG, AssetAny, task
from mesh_platform.dags import read_domains
from mesh_platform.dags.alert import tell_of_failure, tell_of_rows
from mesh_platform.dags.assets import table_asset
from mesh_platform.settings import find_root

TABLE = "ml_insights.fact_order_anomalies"
NEW_ANOMALIES = Path(__file__).with_name("new_order_anomalies.sql")

mesh, _, _ = read_domains(find_root(Path(__file__).resolve().parent))
owners = mesh.domain("ml_insights").owners

with DAG(
    "ml_insights__anomalies",
    description=__doc__,
    schedule=AssetAny(table_asset(mesh, TABLE)),
    catchup=False,
    max_active_runs=1,
    tags={"ml_insights", "anomalies"},
    default_args={
        "owner": owners.team,
        "retries": 4,
        "retry_delay": timedelta(seconds=30),
        "on_failure_callback": partial(tell_of_failure, owners.model_dump()),
    },
):
    tell = task(task_id="tell", inlets=[table_asset(mesh, TABLE)])
    tell(lambda: tell_of_rows(mesh, TABLE, NEW_ANOMALIES.read_text(encoding="utf-8")))()
