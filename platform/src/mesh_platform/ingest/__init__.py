"""Ingest: messages become rows of landing tables exactly once; what is not valid goes to the quarantine."""
