"""The models of this domain. They need the packages of requirements/ml.txt; see docs/ml.md."""
