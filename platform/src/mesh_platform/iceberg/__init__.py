"""Iceberg tables for any program: exactly-once append, replacing files, compaction, expiry, relocation.

This package knows pyiceberg and no contract.
"""
