"""The domain east_warehouse."""
