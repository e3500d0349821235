"""Record batches in the binary format of the log."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

Field: TypeAlias = bytes | None
CODECS: Final = (0, 1, 2, 3, 4)
"""None, gzip, snappy, lz4, zstd."""

TIME: Final = 1_700_000_000_000

_ATTRIBUTES_AT: Final = 21
_CONTROL: Final = 0b100000


def batch(
    base: int,
    records: Sequence[tuple[Field, Field]],
    codec: int = 0,
    *,
    headers: Sequence[tuple[str, bytes]] = (),
    producer: int | None = None,
) -> bytes:
    """One batch that starts at offset ``base``; transactional if it has a producer."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=producer is not None,
        producer_id=-1 if producer is None else producer, producer_epoch=0, base_sequence=0,
        batch_size=1 << 30,
    )  # fmt: skip
    for at, (key, value) in enumerate(records):
        builder.append(at, TIME, key, value, list(headers))
    built = bytearray(builder.build())
    struct.pack_into(">q", built, 0, base)
    return bytes(built)


def aborted(base: int, records: Sequence[tuple[Field, Field]], producer: int) -> bytes:
    """A batch of a transaction. A later `marker` decides the outcome of the transaction."""
    return batch(base, records, producer=producer)


def marker(base: int, producer: int, *, commit: bool) -> bytes:
    """The marker that ends a transaction."""
    key, value = struct.pack(">hh", 0, int(commit)), struct.pack(">hi", 0, 0)
    built = bytearray(batch(base, [(key, value)], producer=producer))
    (attributes,) = struct.unpack_from(">h", built, _ATTRIBUTES_AT)
    struct.pack_into(">h", built, _ATTRIBUTES_AT, attributes | _CONTROL)
    return with_crc(bytes(built))


def with_crc(batch: bytes) -> bytes:
    """A changed batch with a correct checksum."""
    built = bytearray(batch)
    struct.pack_into(">I", built, 17, calc_crc32c(bytes(built[_ATTRIBUTES_AT:])))
    return bytes(built)
