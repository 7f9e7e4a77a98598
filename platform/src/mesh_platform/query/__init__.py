"""Query the mesh: sessions with a view for each table, masked by role, at any time or release; table status."""
