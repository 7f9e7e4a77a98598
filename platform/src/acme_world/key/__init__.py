"""The answer key: what the tables must contain, computed from the truth, and the comparison with them."""
