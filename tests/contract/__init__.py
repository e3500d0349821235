"""One suite for all adapters of a port, with the one in memory."""
