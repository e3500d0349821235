"""How Kafka, Cassandra and Elasticsearch are reached, and the shape that this project gives them.

Rooms that read or write them go through here: client settings, topics, tables, index.
"""
