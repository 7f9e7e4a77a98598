"""What happened in the company: the simulation itself."""
