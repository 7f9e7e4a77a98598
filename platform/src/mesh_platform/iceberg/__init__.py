"""Work on Iceberg tables, for any program: exactly-once append, replacing files, compaction, expiry, relocation.

This package depends on pyiceberg, and knows no contract.
"""
