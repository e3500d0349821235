"""Starts real Kafka, Cassandra and Elasticsearch on a machine without Docker."""
