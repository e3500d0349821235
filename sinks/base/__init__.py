"""What all sinks have in common: read, hand over, wait until it is durable, commit."""
