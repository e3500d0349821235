"""A transaction in the layout ``topic-per-recipient``: a new recipient first gets a topic.

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
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Producer

from backends.sync_layout.recipient_topics import NoRoom, RecipientTopics
from schemas.codec import decode_command
from schemas.errors import FatalFailure, UndecodableRecord
from schemas.records import AddMembers, CreateConversation
from schemas.settings import Settings
from stream_processors.commit.transaction import TRANSACTION_SECONDS, Transaction
from stream_processors.commit.turns import LaneTurns, Turn
from stream_processors.sequencing.sequencer import Sequencer, SourceRecord

log = logging.getLogger(__name__)

_MESSAGE: Final = b'{"kind":"send_message"'
_REPLIES: Final = (b'{"kind":"rejected"', b'{"kind":"duplicate"')
"""The first bytes of encoded replies."""


class RecipientTransaction(Transaction):
    """Writes to a topic for each recipient.

    Args:
        settings: The settings of the deployment, which name the topics.
        partition: The source partition.
        producer: The initialised transactional producer of only this partition.
        group_metadata: Returns the consumer group of the source offsets.
        seat: Takes its turn in steps 2 and 3.
        topics: The recipients' topics.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - as of its parent, and one more
        self,
        settings: Settings,
        partition: int,
        producer: Producer,
        group_metadata: Callable[[], object],
        seat: LaneTurns,
        topics: RecipientTopics,
    ) -> None:
        super().__init__(settings, partition, producer, group_metadata, seat)
        self._topics = topics
        self._is_refused = False
        self._to_strangers: list[tuple[str, bytes]] = []
        topics.look()  # the previous owner has created topics for all people in the state

    def run(self, sequencer: Sequencer, records: Sequence[SourceRecord]) -> int:
        """See `Transaction.run`.

        Raises:
            ServerUnavailable: Topics were not created in time. The process may end and retry.
        """
        ready = self._ready(sequencer, records)
        try:
            return super().run(sequencer, ready)
        finally:
            self._is_refused = False

    def sync(self, recipients: Sequence[str], value: bytes) -> int:
        """See `Transaction.sync`. Each recipient has a shard, and so a record."""
        produce, known = self._producer.produce, self._topics.of
        for recipient in recipients:
            topic = known.get(recipient) or self._find(recipient, value)
            try:
                produce(topic, value, recipient)
            except BufferError:
                self._produce_late(topic, value, recipient)
        return len(recipients)

    def write_to(self, epoch: int) -> None:
        """See `Transaction.write_to`.

        Raises:
            FatalFailure: The deployment has epochs of the other layout.
        """
        if epoch:
            raise FatalFailure("this deployment has the sync layout sharded, with epochs")

    def _write(self, sequencer: Sequencer, records: Sequence[SourceRecord], turn: Turn) -> int:
        if self._is_refused:
            sequencer.refuse(records[0], self, "no_room")
            return 1
        return super()._write(sequencer, records, turn)

    def _ready(
        self, sequencer: Sequencer, records: Sequence[SourceRecord]
    ) -> Sequence[SourceRecord]:
        for at, record in enumerate(records):
            if self._topics.knows(_named(record)):
                continue
            if at:
                return records[:at]
            try:
                self._topics.make(sequencer.audience(record))
            except NoRoom as reason:
                log.warning("a command is refused: %s", reason)
                self._is_refused = True
                return records[:1]
        return records

    def _complete(self) -> None:
        if not self._to_strangers:
            return
        if self._producer.flush(TRANSACTION_SECONDS):  # step d
            raise FatalFailure("the broker does not take a reply")
        self._topics.look()  # step e
        for recipient, value in self._to_strangers:
            topic = self._topics.find(recipient)
            if topic is not None:
                self._produce(topic, value, recipient)  # step f
        self._to_strangers.clear()

    def _find(self, recipient: str, value: bytes) -> str:
        if value.startswith(_REPLIES):
            topic = self._topics.find(recipient)
            if topic is None:
                self._to_strangers.append((recipient, value))
            return topic or self._sync
        try:
            self._topics.make([recipient])  # the topic of a member, which was deleted
        except NoRoom as reason:
            log.warning("a member has no topic: %s", reason)
            return self._sync
        return self._topics.of[recipient]


def _named(record: SourceRecord) -> Sequence[str]:
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
