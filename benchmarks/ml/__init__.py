"""How well the models of ml_insights predict: `make bench-ml`."""
