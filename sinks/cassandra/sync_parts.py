"""The rows of the table ``sync`` for the references of one flush.

Recipients with the same records have the same rows, except for the recipient's id. So the rows are
encoded once for all of these recipients.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from msgspec import Raw, Struct

from schemas.buckets import sync_bucket
from schemas.limits import MAX_ENTRY_BYTES
from schemas.number_types import BucketNumber
from schemas.recipients import recipients_of
from schemas.sync_rows import SyncRow, encode_row
from sinks.cassandra.sync_places import SyncPlacement

MAX_REFERENCES: Final = 100
"""References in one row, so that a reader who needs a few of them reads few others."""

MAX_ROW_BYTES: Final = MAX_ENTRY_BYTES
"""Maximum size of a row, unless it has a single reference. Together with `SYNC_BUCKET` rows it
bounds a partition, for any number and overlap of repeated flushes."""

MAX_PART_BYTES: Final = 24 * 1024
"""Size of the rows of one part. Cassandra refuses a batch of several partitions above 50 KiB."""

bigint: Final = struct.Struct(">q").pack
"""The binary form of a bigint."""

_by_sync_seq: Final = attrgetter("sync_seq")


class PackedRow(Struct, frozen=True, gc=False):
    """The key of a row in its partition and the row itself, both in Cassandra's binary form."""

    sync_seq: bytes
    records: bytes


class Part(Struct, frozen=True, gc=False):
    """Rows of one partition that are sent in one request, without the id of their recipient.

    Attributes:
        bucket: The bucket.
        rows: The rows, in ascending order.
        places: The records in these rows, in ascending order.
        size: Bytes of the rows.
    """

    bucket: BucketNumber
    rows: list[PackedRow]
    places: list[SyncPlacement]
    size: int


class Timeline(Struct, frozen=True, gc=False):
    """The recipients who get the same records in one flush."""

    users: list[bytes]
    places: list[SyncPlacement]


def timelines_of(by_key: dict[bytes, list[SyncPlacement]]) -> list[Timeline]:
    """The records of all recipients. No recipient is in two timelines."""
    recipients: list[tuple[bytes, list[bytes]]] = []
    first_key: dict[bytes, bytes] = {}
    keys_of: dict[bytes, list[bytes]] = {}
    """The keys of each recipient who is in several keys."""
    for key in by_key:
        users = recipients_of(key)
        if len(users) > 1:
            users = list(dict.fromkeys(users))
        recipients.append((key, users))
        for user in users:
            first = first_key.setdefault(user, key)
            if first is not key:
                keys_of.setdefault(user, [first]).append(key)
    if not keys_of:
        return [Timeline(users, by_key[key]) for key, users in recipients]
    return [*_of_one_key(by_key, recipients, keys_of), *_of_several_keys(by_key, keys_of)]


def _of_one_key(
    by_key: dict[bytes, list[SyncPlacement]],
    recipients: list[tuple[bytes, list[bytes]]],
    but: Container[bytes],
) -> Iterator[Timeline]:
    for key, users in recipients:
        alone = [user for user in users if user not in but]
        if alone:
            yield Timeline(alone, by_key[key])


def _of_several_keys(
    by_key: dict[bytes, list[SyncPlacement]], keys_of: dict[bytes, list[bytes]]
) -> Iterator[Timeline]:
    users_of: defaultdict[tuple[bytes, ...], list[bytes]] = defaultdict(list)
    for user, keys in keys_of.items():
        users_of[tuple(keys)].append(user)
    for together, users in users_of.items():
        yield Timeline(users, [place for key in together for place in by_key[key]])


def parts_of(places: list[SyncPlacement]) -> list[Part]:
    """The parts of one recipient, in ascending order. The records may have any order."""
    if len(places) > 1:
        places = sorted(places, key=_by_sync_seq)
    first, last = sync_bucket(places[0].sync_seq), sync_bucket(places[-1].sync_seq)
    if first == last:
        return _parts_of_bucket(first, places)
    by_bucket = groupby(places, key=lambda place: sync_bucket(place.sync_seq))
    return [part for bucket, group in by_bucket for part in _parts_of_bucket(bucket, list(group))]


def part_of(bucket: BucketNumber, places: list[SyncPlacement]) -> Part:
    """A single row of any number of records, which are in ascending order."""
    records = encode_places(places)
    row = PackedRow(bigint(places[-1].sync_seq), records)
    return Part(bucket, [row], places, len(records))


def encode_places(places: Sequence[SyncPlacement]) -> bytes:
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


def _parts_of_bucket(bucket: BucketNumber, places: list[SyncPlacement]) -> list[Part]:
    """Parts of ordered records. Most recipients have a single row in a flush."""
    if len(places) <= MAX_REFERENCES:
        part = part_of(bucket, places)
        if part.size <= MAX_ROW_BYTES or len(places) == 1:
            return [part]
    parts: list[Part] = []
    for row in _rows(bucket, places):
        last = parts[-1] if parts else None
        if last is None or last.size + row.size > MAX_PART_BYTES:
            parts.append(row)
        else:
            parts[-1] = Part(
                bucket, last.rows + row.rows, last.places + row.places, last.size + row.size
            )
    return parts


def _rows(bucket: BucketNumber, places: list[SyncPlacement]) -> Iterator[Part]:
    """Parts with one row each, within the bounds of a row."""
    for start in range(0, len(places), MAX_REFERENCES):
        chunk = places[start : start + MAX_REFERENCES]
        part = part_of(bucket, chunk)
        if part.size <= MAX_ROW_BYTES or len(chunk) == 1:
            yield part
        else:
            middle = len(chunk) // 2
            yield from _rows(bucket, chunk[:middle])
            yield from _rows(bucket, chunk[middle:])
