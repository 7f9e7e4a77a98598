"""The domain logistics_core."""
