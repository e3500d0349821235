"""The destinations in the layout ``topic-per-recipient``: a new recipient first gets a topic.

Before step 1 of `stream_processors.commit.transaction`:

a. Take the records before the first one that names a person without a topic.
b. If the very first record names such a person, decide it, and create topics for its recipients.
c. If there would be too many topics, refuse the command: ``no_room``.

So a rejected command never creates a topic. A reply to a person without a topic goes to the shards
of epoch 0, which all such people read. Another worker may create the person's topic meanwhile. A
reader that sees the new topic first reads epoch 0 to its end at that time, and then continues in
the topic. Therefore, between steps 3 and 4, after such a reply:

d. Wait until the broker has the reply.
e. List the topics. A person without a topic will find the reply, which is older than the topic.
f. Write the reply also to the topic of a person who has one by now, who may receive it twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final

from backends.sync_layout.recipient_topics import RecipientTopics, TopicLimitReached
from schemas.codec import decode_command
from schemas.errors import FatalFailure, UndecodableRecord
from schemas.number_types import EpochNumber
from schemas.records import AddMembers, CreateConversation
from stream_processors.commit.sync_destinations import (
    ANY_PARTITION,
    CheckedCopy,
    Destination,
    PreparedRecords,
)
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord

log = logging.getLogger(__name__)

_MESSAGE: Final = b'{"kind":"send_message"'
_REPLIES: Final = (b'{"kind":"rejected"', b'{"kind":"duplicate"')
"""The first bytes of encoded replies."""


class RecipientTopicDestinations:
    """A `SyncDestinations`: a topic for each recipient.

    Args:
        topics: The recipients' topics.
        shared_topic: The topic of epoch 0, for people without a topic.
    """

    def __init__(self, topics: RecipientTopics, shared_topic: str) -> None:
        self._topics = topics
        self._shared_topic = shared_topic
        self._replies_to_strangers: list[tuple[str, bytes]] = []
        topics.refresh()  # the previous owner has created topics for all people in the state

    def use_epoch(self, epoch: EpochNumber) -> None:
        """See `SyncDestinations.use_epoch`.

        Raises:
            FatalFailure: The deployment has epochs of the other layout.
        """
        if epoch:
            raise FatalFailure("this deployment has the sync layout sharded, with epochs")

    def prepare(self, sequencer: Sequencer, records: Sequence[SourceRecord]) -> PreparedRecords:
        """See `SyncDestinations.prepare`. Performs steps a to c.

        Raises:
            ServerUnavailable: Topics were not created in time. The process may end and retry.
        """
        for index, record in enumerate(records):
            if self._topics.have_all(_named_people(record)):
                continue
            if index:
                return PreparedRecords(records[:index])
            try:
                self._topics.make(sequencer.audience(record))
            except TopicLimitReached as reason:
                log.warning("a command is refused: %s", reason)
                return PreparedRecords(records[:1], "no_room")
        return PreparedRecords(records)

    def of(self, recipients: Sequence[str], value: bytes) -> Sequence[Destination]:
        """See `SyncDestinations.of`. Each recipient has a shard, and so a record."""
        topic_by_recipient = self._topics.by_recipient
        return [
            (topic_by_recipient.get(user) or self._topic_of(user, value), ANY_PARTITION, user)
            for user in recipients
        ]

    @property
    def needs_check(self) -> bool:
        """See `SyncDestinations.needs_check`: a person without a topic has a reply."""
        return bool(self._replies_to_strangers)

    def checked_copies(self) -> Iterator[CheckedCopy]:
        """See `SyncDestinations.checked_copies`. Performs step e."""
        self._topics.refresh()
        replies, self._replies_to_strangers = self._replies_to_strangers, []
        for recipient, value in replies:
            topic = self._topics.find(recipient)
            if topic is not None:
                yield CheckedCopy(topic, recipient, value)

    def _topic_of(self, recipient: str, value: bytes) -> str:
        if value.startswith(_REPLIES):
            topic = self._topics.find(recipient)
            if topic is None:
                self._replies_to_strangers.append((recipient, value))
            return topic or self._shared_topic
        try:
            self._topics.make([recipient])  # the topic of a member, which was deleted
        except TopicLimitReached as reason:
            log.warning("a member has no topic: %s", reason)
            return self._shared_topic
        return self._topics.by_recipient[recipient]


def _named_people(record: SourceRecord) -> Sequence[str]:
    """The people who would become recipients by a command."""
    if record.value is not None and record.value.startswith(_MESSAGE):
        return ()
    try:
        command = decode_command(record.value)
    except UndecodableRecord:
        return ()
    if isinstance(command, AddMembers | CreateConversation):
        return [command.sender, *command.members]
    return ()
