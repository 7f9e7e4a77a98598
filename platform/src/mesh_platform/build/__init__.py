"""Builds: tables brought up to date with their inputs, incrementally where the model allows."""
