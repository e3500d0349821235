"""History, sync, search and conversations over HTTP, for who may see them."""
