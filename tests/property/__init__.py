"""Properties that hold for any input, tested with Hypothesis."""
