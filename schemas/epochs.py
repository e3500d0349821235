"""Epochs of the sync timelines: which there are, and which are written to no more.

Each epoch has its own shards. ``im.epochs`` holds what has happened to them, in one order for
everybody, and this module folds it:

1. `EpochDeclared`: there are new shards. Nobody writes to them yet.
2. `LaneSwitched`, once for each lane, in a transaction of its own between two others: all that
   the lane has written before lies in earlier epochs, all that it writes from now on in this one.
3. When every lane has switched, the earlier epoch is *closed*: what it holds is all that it ever
   will. Whoever has read a closed shard to its end goes on in the next epoch, from its beginning.

So of one recipient everything in an epoch was written before anything in a later one is read,
and a sync SeqId, (epoch, offset), grows along the timeline whatever the lanes' order was.

A lane goes to the newest epoch that it knows of, never back. One that was passed over by all is
closed and empty.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from schemas.codec import decode


class EpochDeclared(Struct, frozen=True, tag_field="kind", tag="epoch_declared", kw_only=True):
    """There is a new epoch, and its shards are made.

    ``shards``: how many it has. ``lanes``: how many source partitions write to it.
    """

    epoch: int
    shards: int
    lanes: int


class LaneSwitched(Struct, frozen=True, tag_field="kind", tag="lane_switched", kw_only=True):
    """A lane writes to this epoch from now on, and to no earlier one."""

    lane: int
    epoch: int


AnyEpochRecord: TypeAlias = EpochDeclared | LaneSwitched

_decoder: Final[msgspec.json.Decoder[AnyEpochRecord]] = msgspec.json.Decoder(AnyEpochRecord)


def decode_epoch_record(value: bytes | None) -> AnyEpochRecord:
    """Decodes the value of a record of ``im.epochs``.

    Raises:
        UndecodableRecord: It is not one that this version knows.
    """
    return decode(_decoder, value)


def epoch_key(record: AnyEpochRecord) -> str:
    """The Kafka key: of each epoch and of each lane the last record counts."""
    if isinstance(record, EpochDeclared):
        return f"epoch-{record.epoch}"
    return f"lane-{record.lane}"


class Epochs:
    """What the records so far say. Epoch 0 is there from the beginning, undeclared."""

    def __init__(self) -> None:
        self._declared: dict[int, EpochDeclared] = {}
        self._lanes: dict[int, int] = {}

    def apply(self, record: AnyEpochRecord) -> None:
        """Takes the next record. Any of them may come again."""
        if isinstance(record, EpochDeclared):
            self._declared[record.epoch] = record
        else:
            self._lanes[record.lane] = max(record.epoch, self.lane(record.lane))

    @property
    def newest(self) -> int:
        """The epoch that lanes go to."""
        return max(self._declared, default=0)

    def lane(self, lane: int) -> int:
        """The epoch that a lane writes to."""
        return self._lanes.get(lane, 0)

    def waiting(self) -> list[int]:
        """The lanes that have not come to the newest epoch."""
        if not self._declared:
            return []
        newest = self._declared[self.newest]
        return [lane for lane in range(newest.lanes) if self.lane(lane) < newest.epoch]

    def is_closed(self, epoch: int) -> bool:
        """Whether nobody will write to this epoch any more."""
        later = [each for each in self._declared.values() if each.epoch > epoch]
        return bool(later) and all(
            self.lane(lane) > epoch for lane in range(max(each.lanes for each in later))
        )

    def after(self, epoch: int) -> int | None:
        """The epoch that follows this one; None if it is the last."""
        return min((each for each in self._declared if each > epoch), default=None)
