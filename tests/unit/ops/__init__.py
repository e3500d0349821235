"""Unit tests of `ops`."""
