"""Models that learn: their features, trainings and predictions. No library of a model is imported here."""
