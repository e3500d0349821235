"""Kafka: clients, consumer groups, topics, and the log of epochs."""
