"""The rows of the table ``sync`` that one flush makes of its references.

Recipients with the same records have the same rows but for their own id. So the rows are encoded
once for all of these recipients.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from msgspec import Raw, Struct

from schemas.limits import MAX_ENTRY_BYTES, SYNC_BUCKET
from schemas.recipients import recipients_of
from schemas.sync_rows import SyncRow, encode_row
from sinks.cassandra.sync_places import Place

MAX_REFERENCES: Final = 100
"""References of one row, so that a reader who needs a few of them reads few others."""

MAX_ROW_BYTES: Final = MAX_ENTRY_BYTES
"""A row that would be longer becomes several, unless it has a single reference. Together with
`SYNC_BUCKET` rows this bounds a partition, however often and with whatever overlap the flushes are
repeated."""

MAX_PART_BYTES: Final = 24 * 1024
"""Rows of one part. Cassandra refuses a batch of several partitions above 50 KiB."""

bigint: Final = struct.Struct(">q").pack
"""The binary form of a bigint."""

_by_sync_seq: Final = attrgetter("sync_seq")


class PackedRow(Struct, frozen=True, gc=False):
    """The key of a row in its partition and the row itself, both in Cassandra's binary form."""

    sync_seq: bytes
    records: bytes


class Part(Struct, frozen=True, gc=False):
    """Rows of one partition that travel together, but for the id of their recipient.

    Attributes:
        bucket: The bucket.
        newest: The highest sync SeqId.
        rows: The rows, in ascending order.
        places: The records in these rows, in ascending order.
        size: About the bytes of the rows in a request.
    """

    bucket: int
    newest: int
    rows: list[PackedRow]
    places: Sequence[Place]
    size: int


class Timeline(Struct, frozen=True, gc=False):
    """What one flush brings to each of these recipients, in ascending order."""

    users: list[bytes]
    parts: list[Part]


def timelines_of(by_key: dict[bytes, list[Place]]) -> list[Timeline]:
    """The parts of all recipients. No recipient is in two timelines."""
    keys_of: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for key in by_key:
        for user in dict.fromkeys(recipients_of(key)):
            keys_of[user].append(key)
    users_of: defaultdict[tuple[bytes, ...], list[bytes]] = defaultdict(list)
    for user, keys in keys_of.items():
        users_of[tuple(keys)].append(user)
    return [
        Timeline(users, parts_of([place for key in keys for place in by_key[key]]))
        for keys, users in users_of.items()
    ]


def parts_of(places: Collection[Place]) -> list[Part]:
    """The parts of one recipient, in ascending order."""
    in_order = sorted(places, key=_by_sync_seq)
    first, last = in_order[0].sync_seq // SYNC_BUCKET, in_order[-1].sync_seq // SYNC_BUCKET
    if first == last:
        return list(_parts_of_bucket(first, in_order))
    by_bucket = groupby(in_order, key=lambda place: place.sync_seq // SYNC_BUCKET)
    return [part for bucket, some in by_bucket for part in _parts_of_bucket(bucket, list(some))]


def part_of(bucket: int, places: Sequence[Place]) -> Part:
    """A single row of these records, whatever their number."""
    row = _packed(places)
    newest = places[-1].sync_seq
    return Part(bucket, newest, [row], places, len(row.records))


def encode_places(places: Sequence[Place]) -> bytes:
    """The column ``records`` of a row of these records."""
    row = SyncRow(entries={}, replies={})
    entries, replies = row.entries, row.replies
    for place in places:
        if place.reply is not None:
            replies[place.sync_seq] = Raw(place.reply)
        elif place.conv_id in entries:
            entries[place.conv_id] += place.sync_seq, place.seq
        else:
            entries[place.conv_id] = [place.sync_seq, place.seq]
    return encode_row(row)


def _packed(places: Sequence[Place]) -> PackedRow:
    return PackedRow(bigint(places[-1].sync_seq), encode_places(places))


def _parts_of_bucket(bucket: int, places: Sequence[Place]) -> Iterator[Part]:
    """Parts of references that are in order. Most recipients have a single row in a flush."""
    rows: list[PackedRow] = []
    chosen: list[Place] = []
    size = 0
    for some, row in _rows(places):
        if rows and size + len(row.records) > MAX_PART_BYTES:
            yield Part(bucket, chosen[-1].sync_seq, rows, chosen, size)
            rows, chosen, size = [], [], 0
        rows.append(row)
        chosen += some
        size += len(row.records)
    yield Part(bucket, chosen[-1].sync_seq, rows, chosen, size)


def _rows(places: Sequence[Place]) -> Iterator[tuple[Sequence[Place], PackedRow]]:
    """Rows within their bounds, with the records of each."""
    for start in range(0, len(places), MAX_REFERENCES):
        some = places[start : start + MAX_REFERENCES]
        row = _packed(some)
        if len(row.records) <= MAX_ROW_BYTES or len(some) == 1:
            yield some, row
        else:
            middle = len(some) // 2
            yield from _rows(some[:middle])
            yield from _rows(some[middle:])
