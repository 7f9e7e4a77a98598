"""The truth: the simulation of what happens in the company."""
