"""Limits on the commands that people send over HTTP."""
