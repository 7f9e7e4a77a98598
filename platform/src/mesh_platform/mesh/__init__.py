"""The mesh: domains, their owners, sites, glossaries and contracts, joined and checked together."""
