"""Decompresses fetched batches, each up to a bound."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import cramjam
from aiokafka.errors import CorruptRecordException

MAX_UNPACKED_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of an unpacked batch: four times the topic's limit of a packed batch. Producers
rarely exceed 1 MB."""

BATCH_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""The header of a batch: base offset, length, leader epoch, magic, CRC, attributes, last offset
delta, first and last time, producer's id and epoch, base sequence, number of records."""

_ATTRIBUTES_AT: Final = 21
_CODECS: Final = 0b111


class BatchTooLong(Exception):
    """A batch has more than `MAX_UNPACKED_BYTES`."""


def decompressed(batch: memoryview) -> memoryview:
    """The batch without compression; an uncompressed batch is returned unchanged.

    Raises:
        BatchTooLong: The unpacked batch has more than `MAX_UNPACKED_BYTES`.
        Exception: The codec cannot read the batch; codecs have no common error.
    """
    (attributes,) = struct.unpack_from(">h", batch, _ATTRIBUTES_AT)
    codec = attributes & _CODECS
    if not codec:
        return batch
    packed = batch[BATCH_HEADER.size :]
    unpacked = _DECOMPRESS[codec](packed)
    unpacked[: BATCH_HEADER.size] = batch[: BATCH_HEADER.size]
    struct.pack_into(">h", unpacked, _ATTRIBUTES_AT, attributes & ~_CODECS)
    return unpacked


def _by_cramjam(module: Any, packed: memoryview) -> memoryview:
    guess = min(MAX_UNPACKED_BYTES, max(64 * 1024, 16 * len(packed)))
    for room in (guess, MAX_UNPACKED_BYTES):
        unpacked = memoryview(bytearray(BATCH_HEADER.size + room))
        try:
            size = module.decompress_into(packed, unpacked[BATCH_HEADER.size :])
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
        else:
            return unpacked[: BATCH_HEADER.size + size]
    raise BatchTooLong


def _gzip(packed: memoryview) -> memoryview:
    with gzip.open(io.BytesIO(packed)) as file:
        unpacked = file.read(MAX_UNPACKED_BYTES + 1)
    return _with_header(unpacked)


def _snappy(packed: memoryview) -> memoryview:
    blocks = list(_snappy_blocks(packed))
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > MAX_UNPACKED_BYTES:
        raise BatchTooLong
    return _with_header(b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks))


_XERIAL: Final = b"\x82SNAPPY\0"
_XERIAL_HEADER_BYTES: Final = 16


def _snappy_blocks(packed: memoryview) -> Iterator[memoryview]:
    """All bytes, or the blocks into which Java clients divide them."""
    if bytes(packed[: len(_XERIAL)]) != _XERIAL:
        yield packed
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(packed):
        (size,) = struct.unpack_from(">i", packed, at)
        if size < 0:
            raise CorruptRecordException("a block has a negative size")
        yield packed[at + 4 : at + 4 + size]
        at += 4 + size


def _with_header(unpacked: bytes) -> memoryview:
    if len(unpacked) > MAX_UNPACKED_BYTES:
        raise BatchTooLong
    return memoryview(bytearray(BATCH_HEADER.size) + unpacked)


_DECOMPRESS: Final[dict[int, Callable[[memoryview], memoryview]]] = {
    1: _gzip,
    2: _snappy,
    3: lambda packed: _by_cramjam(cramjam.lz4, packed),
    4: lambda packed: _by_cramjam(cramjam.zstd, packed),
}
"""By the codec in the attributes of a batch."""
