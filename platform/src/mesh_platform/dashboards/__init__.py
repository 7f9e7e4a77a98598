"""Dashboards over the star schema: definitions, the files that they read, Superset, pages without a server."""
