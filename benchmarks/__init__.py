"""`make bench`: what this code does on this machine, beside the least that could do the same."""
