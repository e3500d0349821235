"""Sequences commands and fans them out: a pure core, and Faust around it."""
