"""What the mesh knows of itself, for other tools: the mesh arrives, descriptions in their forms leave."""
