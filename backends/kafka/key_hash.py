"""The hash of a record's key, which decides its partition.

The client aiokafka has the same function, but its import loads the whole client, a seventh of the
start of a sink.
"""

from __future__ import annotations

from typing import Final

_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_BLOCK_BYTES: Final = 4


def murmur2(key: bytes) -> int:
    """The murmur2 of Kafka's Java clients, as a number of 32 bits without a sign."""
    whole = len(key) - len(key) % _BLOCK_BYTES
    found = _SEED ^ len(key)
    for begin in range(0, whole, _BLOCK_BYTES):
        block = int.from_bytes(key[begin : begin + _BLOCK_BYTES], "little") * _FACTOR & _MASK
        found = found * _FACTOR & _MASK ^ (block ^ block >> 24) * _FACTOR & _MASK
    if whole < len(key):
        found = (found ^ int.from_bytes(key[whole:], "little")) * _FACTOR & _MASK
    found = (found ^ found >> 13) * _FACTOR & _MASK
    return found ^ found >> 15
