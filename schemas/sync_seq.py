"""The SeqId of a sync timeline: (epoch, partition offset) in one 64-bit number.

A change of the number of shards starts a new epoch, so that earlier cursors are below all later
records. The number of a shard is packed in the same way: (epoch, index).
"""

from __future__ import annotations

from typing import Final

from schemas.number_types import EpochNumber, Offset, ShardNumber, SyncSeqId

_OFFSET_BITS: Final = 48
_MAX_EPOCH: Final = (1 << 15) - 1
MAX_SYNC_SEQ: Final = SyncSeqId((1 << 63) - 1)


def sync_seq(epoch: EpochNumber, offset: Offset) -> SyncSeqId:
    """Packs an epoch (below 2**15) and an offset (below 2**48) into one growing number.

    Raises:
        ValueError: A number is out of its range.
    """
    return SyncSeqId(_packed(epoch, offset))


def shard_number(epoch: EpochNumber, index: int) -> ShardNumber:
    """Packs an epoch (below 2**15) and an index (below 2**48) into the number of a shard.

    Raises:
        ValueError: A number is out of its range.
    """
    return ShardNumber(_packed(epoch, index))


def unpack_sync_seq(number: SyncSeqId) -> tuple[EpochNumber, Offset]:
    """The (epoch, offset) of a sync SeqId."""
    return epoch_of(number), Offset(number & ((1 << _OFFSET_BITS) - 1))


def epoch_of(number: SyncSeqId | ShardNumber) -> EpochNumber:
    """The epoch of a sync SeqId, or of a shard by its number."""
    return EpochNumber(number >> _OFFSET_BITS)


def _packed(epoch: EpochNumber, low: int) -> int:
    if not 0 <= epoch <= _MAX_EPOCH or not 0 <= low < 1 << _OFFSET_BITS:
        raise ValueError("an epoch takes 15 bits, an offset 48")
    return epoch << _OFFSET_BITS | low
