"""Changes that an operator with Kafka's own tools can make to the topics of a deployment."""

from __future__ import annotations

from collections.abc import Iterable

from backends.identity.log_identity import topic_identities
from backends.kafka.clients import admin_client, make_topics, new_topics
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.processes import WAIT_SECONDS, wait_until


def delete(settings: Settings, topics: Iterable[Topic]) -> None:
    """Deletes topics, and returns when the broker does not list them any more."""
    admin, names = admin_client(settings), [settings.topic(topic) for topic in topics]
    for answer in admin.delete_topics(names).values():
        answer.result(WAIT_SECONDS)
    wait_until(lambda: not topic_identities(admin, names), "the topics are gone")


def make_anew(settings: Settings, topic: Topic) -> None:
    """Deletes a topic and creates it again."""
    delete(settings, [topic])
    name = settings.topic(topic)
    wanted = [each for each in new_topics(settings) if each.topic == name]
    make_topics(admin_client(settings), wanted, WAIT_SECONDS)
