"""Manage the mesh's tables in its catalog: create, evolve, purge, roll back, release and maintain them."""
