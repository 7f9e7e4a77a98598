"""Data contracts: ODCS files as objects, their field types, rules and versions, and what a change of one does."""
