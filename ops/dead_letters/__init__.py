"""`im dead-letters`: what was put aside, and how it gets into a store after a repair."""
