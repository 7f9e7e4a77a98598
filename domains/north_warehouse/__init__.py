"""The domain north_warehouse."""
