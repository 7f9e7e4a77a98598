"""The tables of the mesh in its catalog: created and evolved by contract, rolled back, released, maintained."""
