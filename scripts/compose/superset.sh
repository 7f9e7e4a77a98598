# Runs a part of Superset: `files` writes what it reads and the passwords of its users, `migrate` sets up its database
# with these users, `follow` deploys the dashboards and writes the files again after each commit. Each may run again.
set -eu

as_mesh() {
    set -a
    . "$MESH_STATE/credentials/mesh.env"
    set +a
}

case $1 in
files)
    as_mesh
    mesh dashboards data >"$MESH_STATE/superset/connection"
    ;;
migrate)
    read -r id name <"$MESH_SUPERSET_HOME/connection"
    exec python "$(dirname "$SUPERSET_CONFIG_PATH")/superset_setup.py" "$id" "$name"
    ;;
follow)
    as_mesh
    mesh dashboards apply
    touch "${TMPDIR:-/tmp}/deployed"
    exec mesh dashboards data --follow
    ;;
*)
    echo "superset.sh: '$1': there is files, migrate and follow." >&2
    exit 2
    ;;
esac
