"""The domain south_warehouse."""
