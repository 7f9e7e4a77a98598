"""Parse and check SQL models and quality rules: inputs, build order, lineage, types, audits and tests."""
