"""The counts of a sink continue after a rebalance."""

from __future__ import annotations

import json

from confluent_kafka import TopicPartition

from backends.kafka.commit_notes import decode_note
from schemas.number_types import Offset
from sinks.base.counts import DeliveryCounts
from sinks.base.progress import SinkProgress
from sinks.base.records import Batch

NAMES = DeliveryCounts.__struct_fields__


def test_each_count_continues_from_the_last_commit() -> None:
    """Each count of `DeliveryCounts` is in the note, and no count begins at 0 again."""
    before = {name: 10 + at for at, name in enumerate(NAMES)}
    progress = SinkProgress(lambda: 0.0)
    progress.assign(3, TopicPartition("topic", 3))
    progress.learn([TopicPartition("topic", 3, 5, metadata=json.dumps(before))])
    batch = Batch([], {3: Offset(6)}, {})
    progress.durable(batch, {3: DeliveryCounts(**dict.fromkeys(NAMES, 100))})
    [commit] = progress.uncommitted()
    assert decode_note(commit.metadata).counts == {name: at + 100 for name, at in before.items()}


def test_a_sum_has_each_count() -> None:
    """The sum of two counts has the sum of each field."""
    counts = DeliveryCounts(**{name: 1 + at for at, name in enumerate(NAMES)})
    assert counts + counts == DeliveryCounts(**{name: 2 + 2 * at for at, name in enumerate(NAMES)})
