"""HTTP server for history, sync, search and conversations, with access checks."""
