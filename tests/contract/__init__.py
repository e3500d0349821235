"""One suite for every adapter of a port, the one in memory included."""
