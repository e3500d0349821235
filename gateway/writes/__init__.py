"""Writing: commands from requests, their producer, and the wait for their outcomes."""
