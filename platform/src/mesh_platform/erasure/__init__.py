"""Erasing persons: where their values are, how they are removed, and the proof that they are gone."""
