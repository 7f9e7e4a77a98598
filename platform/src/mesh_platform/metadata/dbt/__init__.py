"""The mesh as a dbt project, which reads the lake and writes tables of its own; see docs/dbt.md."""
