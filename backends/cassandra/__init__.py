"""Cassandra: the session, the tables, and the checks of existing tables."""
