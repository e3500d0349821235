"""Consume loops that make the log durable elsewhere: Cassandra and Elasticsearch."""
