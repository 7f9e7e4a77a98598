"""Run SQL with DuckDB, in this process. No other package imports duckdb."""
