"""Bring product tables up to date with their inputs, incrementally where the model allows."""
