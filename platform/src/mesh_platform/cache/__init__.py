"""Results by content, kept for the next call, and work on all cores."""
