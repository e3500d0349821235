"""The least permissions of each role, on each of the three servers."""
