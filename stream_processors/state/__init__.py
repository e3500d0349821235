"""The state of a partition: its records on ``im.state``, and its restore."""
