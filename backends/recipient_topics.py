"""The topics of recipients, by the layout ``topic-per-recipient``: which are there, and new ones.

They are made before anything is written to them, outside of transactions, many at a time. To make
one that is there already is harmless, so a process that ends in the middle, or another one that
is faster, does no damage.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from confluent_kafka import KafkaException

from backends.kafka import REQUEST_SECONDS, admin_client, make_topics, sync_topic
from backends.sync_layout import OWN_EPOCH, TopicPerRecipient
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic

AT_ONCE: Final = 250
"""Topics of one request. On two cores a broker makes some hundreds a second."""

LOOK_SECONDS: Final = 1.0
"""How often the broker is asked at most whether somebody has a topic by now."""

log = logging.getLogger(__name__)


class NoRoom(Exception):
    """There would be more topics than `Settings.sync_topics_limit`. Nothing was made."""


class RecipientTopics:
    """Shared by the lanes of a process; safe among threads.

    Args:
        settings: The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = TopicPerRecipient(settings.topic(Topic.SYNC))
        self._admin = admin_client(settings)
        self._guard = threading.Lock()
        self._names: set[str] = set()
        self._looked_at = float("-inf")
        self.of: dict[str, str] = {}
        """The topics of recipients that were asked for, by recipient. To be read by anybody."""

    def look(self) -> None:
        """Asks the broker which topics there are.

        Raises:
            ServerUnavailable: It does not answer.
        """
        with self._guard:
            self._look()

    def find(self, user: str) -> str | None:
        """The topic of a recipient, None if there was none a second ago.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        with self._guard:
            now = time.monotonic()
            if self._note(user) is None and now - self._looked_at > LOOK_SECONDS:
                self._look()
            return self._note(user)

    def knows(self, users: Iterable[str]) -> bool:
        """Whether all of these are known to have topics."""
        return all(user in self.of or self._note(user) for user in users)

    def make(self, users: Iterable[str]) -> None:
        """Makes the topics that are missing, and waits until all have a leader.

        Raises:
            NoRoom: There would be too many.
            ServerUnavailable: The broker did not make them in time. Some may be there.
        """
        with self._guard:
            missing = [user for user in dict.fromkeys(users) if self._note(user) is None]
            if missing:
                self._look()  # another process may have made some
                self._make([user for user in missing if self._note(user) is None])

    def _make(self, missing: Sequence[str]) -> None:
        limit = self._settings.sync_topics_limit
        if len(self._names) + len(missing) > limit:
            raise NoRoom(f"{len(self._names)} recipients have topics, {limit} may")
        names = iter([self._layout.topic_of_own(user) for user in missing])
        begin = time.monotonic()
        while some := list(islice(names, AT_ONCE)):
            make_topics(self._admin, [sync_topic(self._settings, name, 1) for name in some])
            self._names.update(some)
        if missing:
            log.info("%d topics made in %.1f s", len(missing), time.monotonic() - begin)
        for user in missing:
            self._note(user)

    def _note(self, user: str) -> str | None:
        name = self._layout.topic_of_own(user)
        if name not in self._names:
            return None
        self.of[user] = name
        return name

    def _look(self) -> None:
        try:
            found = self._admin.list_topics(timeout=REQUEST_SECONDS).topics
        except KafkaException as error:
            raise ServerUnavailable(f"the topics cannot be listed: {error}") from error
        self._names.update(name for name in found if self._layout.epoch(name) == OWN_EPOCH)
        self._looked_at = time.monotonic()


def make_recipients(settings: Settings, users: Sequence[str]) -> list[str]:
    """Makes the topics of some recipients ahead of their first record: of services, of bots.

    Returns:
        The names of the topics.

    Raises:
        ConfigurationError: The layout is another, or there would be too many.
        ServerUnavailable: The broker did not make them in time.
    """
    if not users:
        return []
    if settings.sync_layout != TopicPerRecipient.name:
        raise ConfigurationError(f"by the sync layout {settings.sync_layout} nobody has a topic")
    topics = RecipientTopics(settings)
    try:
        topics.make(users)
    except NoRoom as error:
        raise ConfigurationError(f"{error}: see IM_SYNC_TOPICS_LIMIT") from error
    return [topics.of[user] for user in users]
