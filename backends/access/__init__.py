"""TLS of clients, shared by the clients of all servers."""
