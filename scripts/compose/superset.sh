# Sets up Superset's database and its administrator. It may run again.
set -eu
superset db upgrade
superset fab create-admin --username admin --password "$MESH_SUPERSET_PASSWORD" \
    --firstname Mesh --lastname Administrator --email admin@localhost
superset init
