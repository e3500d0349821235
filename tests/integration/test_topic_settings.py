"""`im prepare` with topics and keyspaces that an operator created in advance, on real servers."""

from __future__ import annotations

import pytest
from confluent_kafka.cimpl import NewTopic

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from backends.kafka.clients import admin_client, create_topics
from schemas.errors import ConfigurationError
from schemas.topics import Topic
from tests.support.servers import Servers


def test_a_state_topic_that_expires_is_refused(servers: Servers) -> None:
    """A state topic that would lose state is refused, with its setting and the remedy."""
    settings = servers.settings()
    name = settings.topic(Topic.STATE)
    made = NewTopic(name, settings.partitions, 1, config={"cleanup.policy": "delete"})
    admin = admin_client(settings)
    admin.create_topics([made])[name].result(30)

    with pytest.raises(ConfigurationError) as refused:
        create_topics(settings)

    line = str(refused.value)
    assert f"topic {name} has cleanup.policy=delete (needs compact)" in line
    assert "docs/operating.md" in line
    assert "\n" not in line


def test_topics_of_the_deployment_are_accepted_again(servers: Servers) -> None:
    """A second `prepare` accepts the settings of the topics that the first one created."""
    settings = servers.settings()
    create_topics(settings)

    assert create_topics(settings) == []


def test_a_keyspace_with_too_few_copies_is_refused(servers: Servers) -> None:
    """A keyspace with too few replicas is refused: losing a node would lose acknowledged rows."""
    settings = servers.settings()
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        more = settings.model_copy(update={"replication": 3})

        with pytest.raises(ConfigurationError, match=r"has 1 copies in .*, IM_REPLICATION is 3"):
            create_tables(session, more)
