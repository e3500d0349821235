"""Tests of a device and its local store, part by part."""
