"""Makes what the processes find when they start: topics, tables, index."""

from __future__ import annotations

import time

from backends.cassandra import cassandra_session, create_tables
from backends.elasticsearch import create_index, elasticsearch_client
from backends.shards import prepare_topics
from devstack.artifacts import Report
from schemas.settings import Settings


def prepare(settings: Settings, report: Report) -> None:
    """Creates what is missing.

    Raises:
        ConfigurationError: What is there does not fit the settings.
        ServerUnavailable: A server does not answer.
    """
    created = prepare_topics(settings)
    report(f"topics: {len(created)} created")
    with cassandra_session(settings) as session:
        create_tables(session, settings)
    report(f"tables are in keyspace {settings.keyspace}")
    with elasticsearch_client(settings) as client:
        index = create_index(client, settings, time.time_ns() // 1_000_000)
    report(f"index is {index}")
