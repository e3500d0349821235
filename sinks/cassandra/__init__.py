"""Sinks that keep conversation timelines for ever and sync timelines for their lifetime."""
