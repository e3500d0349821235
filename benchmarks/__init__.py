"""`make bench`: rates of this code on this machine, compared with minimal programs."""
