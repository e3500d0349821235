"""Unit tests of `stream_processors`."""
