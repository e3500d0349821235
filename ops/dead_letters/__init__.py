"""`im dead-letters`: list dead letters, and store their records after a repair."""
