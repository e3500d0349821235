"""The common part of all sinks: read, write in batches, wait for durability, commit."""
