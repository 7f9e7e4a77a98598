"""How the company tells of it: the events of each source, with their delays, doubles and faults."""
