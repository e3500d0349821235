"""Elasticsearch: the client, the index, and the checks of an existing index."""
