"""What runs a model's SQL: DuckDB in this process."""
