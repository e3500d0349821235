"""A transaction by the layout ``topic-per-recipient``: who becomes a recipient gets a topic first.

Before step 1 of `stream_processors.transaction`:

a. Records are taken up to the first that names somebody without a topic.
b. If that is the very first, it is decided, and who would get something of it gets a topic.
c. If there are too many topics, it is refused: ``no_room``.

So nobody gets a topic by a command that is rejected. The reply to somebody without a topic goes
where all of those look: to the shards of epoch 0. Another worker may make the topic meanwhile, and
its owner goes on there as soon as they have all that was in epoch 0 when they saw it. Therefore,
between steps 3 and 4, if there was such a reply:

d. Wait until the broker has it.
e. Ask which topics there are. Who has none will find it: it was there before the topic was.
f. Who has one by now gets it there, too. They may be told twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Producer

from backends.recipient_topics import NoRoom, RecipientTopics
from schemas.codec import decode_command
from schemas.errors import FatalFailure, UndecodableRecord
from schemas.records import AddMembers, CreateConversation
from schemas.settings import Settings
from stream_processors.sequencer import Sequencer, SourceRecord
from stream_processors.transaction import TRANSACTION_SECONDS, Transaction
from stream_processors.turns import Seat, Turn

log = logging.getLogger(__name__)

_MESSAGE: Final = b'{"kind":"send_message"'
_REPLIES: Final = (b'{"kind":"rejected"', b'{"kind":"duplicate"')
"""How they begin as our encoder writes them."""


class RecipientTransaction(Transaction):
    """Writes to a topic for each recipient.

    Args:
        settings: Names of the topics.
        partition: The source partition.
        producer: Transactional, of this partition alone, initialised.
        group_metadata: Gives the consumer group of the source offsets.
        seat: Has its turn in steps 2 and 3.
        topics: Those of recipients.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - as of its parent, and one more
        self,
        settings: Settings,
        partition: int,
        producer: Producer,
        group_metadata: Callable[[], object],
        seat: Seat,
        topics: RecipientTopics,
    ) -> None:
        super().__init__(settings, partition, producer, group_metadata, seat)
        self._topics = topics
        self._is_refused = False
        self._to_strangers: list[tuple[str, bytes]] = []
        topics.look()  # whoever had the partition before made topics for all whom its state knows

    def run(self, sequencer: Sequencer, records: Sequence[SourceRecord]) -> int:
        """See `Transaction.run`.

        Raises:
            ServerUnavailable: Topics were not made in time. The process may end and try again.
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
            self._topics.make([recipient])  # a member's, whose topic somebody has removed
        except NoRoom as reason:
            log.warning("a member goes on without a topic: %s", reason)
            return self._sync
        return self._topics.of[recipient]


def _named(record: SourceRecord) -> Sequence[str]:
    """Whom a command would make recipients; nobody, if it is none that makes any."""
    if record.value is not None and record.value.startswith(_MESSAGE):
        return ()
    try:
        command = decode_command(record.value)
    except UndecodableRecord:
        return ()
    if isinstance(command, AddMembers | CreateConversation):
        return [command.sender, *command.members]
    return ()
