"""The words everybody uses: records, topics, errors, limits, settings.

Imports none of the other rooms; every other room imports this one.
"""
