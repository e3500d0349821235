"""A device and its local store, part by part."""
