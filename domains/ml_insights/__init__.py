"""The domain ml_insights."""
