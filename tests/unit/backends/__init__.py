"""Unit tests of `backends`."""
