"""Unit tests of `devstack`."""
