"""The `im` command: everything that an operator does."""
