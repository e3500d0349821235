"""Definitions that all packages share: records, topics, errors, limits, settings.

Imports no other package of this project; every other package imports this one.
"""
