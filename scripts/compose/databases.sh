# PostgreSQL's image runs this once, when it makes its volume: a database for each service, owned by a user of its name.
set -eu
for name in catalog airflow superset openmetadata; do
    variable=$(echo "$name" | tr a-z A-Z)_PASSWORD
    psql -v ON_ERROR_STOP=1 -v name="$name" -v password="$(printenv "$variable")" -U postgres -d postgres <<'SQL'
CREATE USER :"name" PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
