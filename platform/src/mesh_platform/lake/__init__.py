"""Iceberg tables: created from contracts, appended to exactly once, rebuilt by partition, rolled back."""
