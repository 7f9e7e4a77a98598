"""Events: the envelope around a record, its id, and how a producer publishes it."""
