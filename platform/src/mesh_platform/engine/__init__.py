"""The SQL engine: DuckDB in this process. Nothing else imports duckdb."""
