"""Queries to Cassandra and Elasticsearch, and the sharing of equal queries."""
