"""Access to Kafka, Cassandra and Elasticsearch: client settings, topics, tables, index.

Every package that reads or writes one of the three servers uses this package.
"""
