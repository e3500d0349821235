"""The transaction that writes entries, sync records, state and offsets, and its turns."""
