"""Data contracts: ODCS files as objects, their field types, rules and versions, and the effect of a change."""
