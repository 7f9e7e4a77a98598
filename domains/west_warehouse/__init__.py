"""The domain west_warehouse."""
