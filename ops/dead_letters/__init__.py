"""`im dead-letter`: list and show dead letters, send their records again, or drop them."""
