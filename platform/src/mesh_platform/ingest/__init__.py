"""Ingest: write messages as rows of landing tables exactly once, and invalid records to the quarantine."""
