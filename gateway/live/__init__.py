"""Live delivery: the session of a live connection, and the long poll."""
