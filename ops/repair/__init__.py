"""`im repair`: write what the store or the index lacks again, from the log, and nothing else."""
