"""The read requests of clients: history, sync, search, conversations and devices."""
