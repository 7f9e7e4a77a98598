"""SQL models and quality rules: their inputs, order, lineage, types, audits and tests."""
