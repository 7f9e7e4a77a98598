# Written by `mesh dbt export`, which replaces this file.
"""Load the extensions of DuckDB that pip installed, so that dbt reads Iceberg without a network."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin


class Plugin(BasePlugin):
    """What dbt-duckdb calls for each new database."""

    def configure_connection(self, conn: Any) -> None:
        """Load each extension that is there; a file of tables needs none."""
        version = conn.execute("SELECT library_version FROM pragma_version()").fetchone()[0]
        for name in ("avro", "httpfs", "iceberg"):
            spec = find_spec(f"duckdb_extension_{name}")
            if spec is not None and spec.origin is not None:
                path = Path(spec.origin).parent / "extensions" / version / f"{name}.duckdb_extension"
                conn.load_extension(str(path))
