"""Consumers that write the log to Cassandra and Elasticsearch."""
