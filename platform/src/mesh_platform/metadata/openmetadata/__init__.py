"""OpenMetadata kept in step with the mesh: what it must hold, what differs, and the requests that mend it."""
