"""What must hold whatever the input is, by Hypothesis."""
