"""Metadata of the mesh, for people and other tools."""
