"""Sinks that store conversation timelines permanently and sync timelines for their lifetime."""
