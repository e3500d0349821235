"""Lists and creates the recipients' topics of the layout ``topic-per-recipient``.

A topic is created before its first record, outside of transactions, many topics per request. The
creation is idempotent, so a crash in the middle, or another process that creates the same topic,
does no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NoReturn

from confluent_kafka import KafkaException

from backends.kafka.clients import REQUEST_SECONDS, admin_client, make_topics, sync_topic
from backends.sync_layout.layouts import OWN_EPOCH, Sharded, TopicPerRecipient, by_layout
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic

TOPICS_PER_REQUEST: Final = 250
"""Topics in one request. On two cores a broker creates some hundreds a second."""

TOPIC_LISTING_SECONDS: Final = 1.0
"""Minimum interval between two listings of the topics."""

log = logging.getLogger(__name__)


class TopicLimitReached(Exception):
    """There would be more topics than `Settings.sync_topics_limit`. None was created."""


class RecipientTopics:
    """The recipients' topics that this process knows. Shared by its lanes; thread-safe.

    Args:
        settings: The settings of the deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = TopicPerRecipient(settings.topic(Topic.SYNC))
        self._admin = admin_client(settings)
        self._guard = threading.Lock()
        self._names: set[str] = set()
        self._listed_at = float("-inf")
        self.by_recipient: dict[str, str] = {}
        """The topics of the requested recipients, by recipient. Any thread may read it."""

    def refresh(self) -> None:
        """Lists the topics of the broker.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        with self._guard:
            self._refresh()

    def find(self, user: str) -> str | None:
        """The topic of a recipient; None if the last listing, at most a second old, has none.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        with self._guard:
            now = time.monotonic()
            if self._note(user) is None and now - self._listed_at > TOPIC_LISTING_SECONDS:
                self._refresh()
            return self._note(user)

    def have_all(self, users: Iterable[str]) -> bool:
        """Whether all of these recipients are known to have topics."""
        return all(user in self.by_recipient or self._note(user) for user in users)

    def make(self, users: Iterable[str]) -> None:
        """Creates the missing topics, and waits until all have a leader.

        Raises:
            TopicLimitReached: There would be too many topics.
            ServerUnavailable: The broker did not create them in time. Some may exist.
        """
        with self._guard:
            missing = [user for user in dict.fromkeys(users) if self._note(user) is None]
            if missing:
                self._refresh()  # another process may have created some
                self._make([user for user in missing if self._note(user) is None])

    def _make(self, missing: Sequence[str]) -> None:
        limit = self._settings.sync_topics_limit
        if len(self._names) + len(missing) > limit:
            raise TopicLimitReached(
                f"{len(self._names)} recipients have topics, the limit is {limit}"
            )
        names = iter([self._layout.recipient_topic(user) for user in missing])
        began = time.monotonic()
        while batch := list(islice(names, TOPICS_PER_REQUEST)):
            make_topics(self._admin, [sync_topic(self._settings, name, 1) for name in batch])
            self._names.update(batch)
        if missing:
            log.info("%d topics created in %.1f s", len(missing), time.monotonic() - began)
        for user in missing:
            self._note(user)

    def _note(self, user: str) -> str | None:
        name = self._layout.recipient_topic(user)
        if name not in self._names:
            return None
        self.by_recipient[user] = name
        return name

    def _refresh(self) -> None:
        try:
            topics = self._admin.list_topics(timeout=REQUEST_SECONDS).topics
        except KafkaException as error:
            raise ServerUnavailable(f"the topics cannot be listed: {error}") from error
        self._names.update(name for name in topics if self._layout.epoch(name) == OWN_EPOCH)
        self._listed_at = time.monotonic()


def make_recipients(settings: Settings, users: Sequence[str]) -> list[str]:
    """Creates the topics of recipients before their first record, for services and bots.

    Returns:
        The names of the topics.

    Raises:
        ConfigurationError: The deployment has the other layout, or there would be too many topics.
        ServerUnavailable: The broker did not create the topics in time.
    """
    if not users:
        return []

    def refuse(layout: Sharded) -> NoReturn:
        raise ConfigurationError(f"in the sync layout {layout.name} nobody has a topic")

    by_layout(settings, sharded=refuse, topic_per_recipient=lambda layout: layout)
    topics = RecipientTopics(settings)
    try:
        topics.make(users)
    except TopicLimitReached as error:
        raise ConfigurationError(f"{error}: see IM_SYNC_TOPICS_LIMIT") from error
    return [topics.by_recipient[user] for user in users]
