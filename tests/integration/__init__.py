"""Whole parts on the real servers."""
