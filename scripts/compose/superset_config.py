"""Superset's settings, from the variables of docker-compose.yml."""

import os

SECRET_KEY = os.environ["MESH_SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = (
    f"postgresql+psycopg2://superset:{os.environ['MESH_SUPERSET_DB_PASSWORD']}@postgres/superset"
)
