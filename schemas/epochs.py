"""Epochs of the sync timelines: which epochs exist, and which are closed.

Each epoch has its own shards. ``im.epochs`` holds the events of all epochs in one order, and this
module folds the events:

1. `EpochDeclared`: there are new shards. No lane writes to them yet.
2. `LaneSwitched`, once for each lane, in its own transaction between two others. The lane's
   earlier records are in earlier epochs, its later records are in this epoch.
3. When every lane has switched, the earlier epoch is *closed*: it gets no more records. A reader
   at the end of a closed shard continues at the beginning of the next epoch.

So a reader reads a recipient's records of a later epoch only after all records of the earlier
epoch were written. A sync SeqId, (epoch, offset), therefore grows along the timeline, in whatever
order the lanes switch.

A lane switches to the newest epoch that it knows of, never back. An epoch that every lane skipped
is closed and empty.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from schemas.codec import decode
from schemas.number_types import FIRST_EPOCH, EpochNumber


class EpochDeclared(Struct, frozen=True, tag_field="kind", tag="epoch_declared", kw_only=True):
    """There is a new epoch, and its shards exist.

    ``shards``: the number of its shards. ``lanes``: the number of source partitions that write
    to it.
    """

    epoch: EpochNumber
    shards: int
    lanes: int


class LaneSwitched(Struct, frozen=True, tag_field="kind", tag="lane_switched", kw_only=True):
    """A lane writes to this epoch from now on, and to no earlier one."""

    lane: int
    epoch: EpochNumber


AnyEpochRecord: TypeAlias = EpochDeclared | LaneSwitched

_decoder: Final[msgspec.json.Decoder[AnyEpochRecord]] = msgspec.json.Decoder(AnyEpochRecord)


def decode_epoch_record(value: bytes | None) -> AnyEpochRecord:
    """Decodes the value of a record of ``im.epochs``.

    Raises:
        UndecodableRecord: The value is not a record that this version knows.
    """
    return decode(_decoder, value)


def epoch_key(record: AnyEpochRecord) -> str:
    """The Kafka key, so that compaction retains the last record of each epoch and each lane."""
    if isinstance(record, EpochDeclared):
        return f"epoch-{record.epoch}"
    return f"lane-{record.lane}"


class Epochs:
    """The state after the records so far. Epoch 0 exists from the beginning, undeclared."""

    def __init__(self) -> None:
        self._declared: dict[EpochNumber, EpochDeclared] = {}
        self._lanes: dict[int, EpochNumber] = {}

    def apply(self, record: AnyEpochRecord) -> None:
        """Applies the next record. Idempotent."""
        if isinstance(record, EpochDeclared):
            self._declared[record.epoch] = record
        else:
            self._lanes[record.lane] = max(record.epoch, self.lane(record.lane))

    @property
    def newest(self) -> EpochNumber:
        """The epoch to which lanes switch."""
        return max(self._declared, default=FIRST_EPOCH)

    def lane(self, lane: int) -> EpochNumber:
        """The epoch that a lane writes to."""
        return self._lanes.get(lane, FIRST_EPOCH)

    def waiting(self) -> list[int]:
        """The lanes that have not switched to the newest epoch."""
        if not self._declared:
            return []
        newest = self._declared[self.newest]
        return [lane for lane in range(newest.lanes) if self.lane(lane) < newest.epoch]

    def is_closed(self, epoch: EpochNumber) -> bool:
        """Whether every lane writes to a later epoch."""
        later = [each for each in self._declared.values() if each.epoch > epoch]
        return bool(later) and all(
            self.lane(lane) > epoch for lane in range(max(each.lanes for each in later))
        )

    def after(self, epoch: EpochNumber) -> EpochNumber | None:
        """The epoch that follows this one; None if it is the last."""
        return min((each for each in self._declared if each > epoch), default=None)
