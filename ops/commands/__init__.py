"""The commands of `im`, one module for each group of commands."""
