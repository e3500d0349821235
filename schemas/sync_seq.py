"""The SeqId of a sync timeline: (epoch, partition offset) in one 64-bit number.

A change of the number of shards starts a new epoch, so that earlier cursors are below all later
records. The number of a shard is packed in the same way: (epoch, index).
"""

from __future__ import annotations

from typing import Final

_OFFSET_BITS: Final = 48
_MAX_EPOCH: Final = (1 << 15) - 1
MAX_SYNC_SEQ: Final = (1 << 63) - 1


def sync_seq(epoch: int, offset: int) -> int:
    """Packs an epoch (below 2**15) and an offset (below 2**48) into one growing number.

    Raises:
        ValueError: A number is out of its range.
    """
    if not 0 <= epoch <= _MAX_EPOCH or not 0 <= offset < 1 << _OFFSET_BITS:
        raise ValueError("an epoch takes 15 bits, an offset 48")
    return epoch << _OFFSET_BITS | offset


def unpack_sync_seq(number: int) -> tuple[int, int]:
    """The (epoch, offset) of a sync SeqId."""
    return number >> _OFFSET_BITS, number & ((1 << _OFFSET_BITS) - 1)


def epoch_of(number: int) -> int:
    """The epoch of a sync SeqId, or of a shard by its number."""
    return number >> _OFFSET_BITS
