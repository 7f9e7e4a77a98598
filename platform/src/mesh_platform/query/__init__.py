"""Queries: sessions with a view for each table, masked by role, at any time or release; status and freshness."""
