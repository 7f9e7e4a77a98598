# Runs a part of Airflow as the platform's user, whose credentials init has written. `migrate` sets up its database.
set -eu
set -a
. "$MESH_STATE/credentials/mesh.env"
set +a
AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=$(python -m mesh_platform.dags.deployment bundles)
export AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST
[ "$1" = migrate ] || exec airflow "$@"

airflow db migrate
python -m mesh_platform.dags.deployment pools >/tmp/pools.json
airflow pools import /tmp/pools.json
umask 077
printf '{"admin": "%s"}' "$MESH_AIRFLOW_PASSWORD" >"$AIRFLOW_HOME/simple_auth_manager_passwords.json.generated"
