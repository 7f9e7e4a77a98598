"""Run every model on DuckDB and on Spark, and compare the rows."""
