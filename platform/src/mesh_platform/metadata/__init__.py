"""What the mesh knows of itself, for people and other tools."""
