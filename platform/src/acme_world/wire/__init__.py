"""The transmission of the truth: the events of each source, with their delays, duplicates and faults."""
