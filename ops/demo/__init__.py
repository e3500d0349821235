"""A short conversation, sent through the SDK and read back from each store."""
