"""The answer key: what the tables must hold, computed from the truth, and held against them."""
