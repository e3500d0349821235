"""Records from fetched bytes, for any content of the bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from schemas.limits import MAX_RECORD_BYTES
from schemas.number_types import Milliseconds, Offset
from stream_processors.faust_app.fetching import CommittedRecords
from stream_processors.sequencing import fetched_batches
from stream_processors.sequencing.batch_codecs import MAX_UNPACKED_BYTES
from stream_processors.sequencing.fetched_batches import (
    FETCH_BYTES,
    PLAIN_BATCH_BYTES,
    FetchedBatches,
)
from stream_processors.sequencing.headerless_records import (
    MAX_COMMAND_KEY_BYTES,
    RecordOfRequest,
    RecordWithoutHeaders,
    RejectedRecords,
    SkippedOffsets,
)
from tests.support.batches import CODECS, TIME, Field, aborted, batch, marker, with_crc

MIB = 1024 * 1024

fields = st.none() | st.binary(max_size=20)
pairs = st.lists(st.tuples(fields, fields), min_size=1, max_size=8)


def read(fetched: bytes, aborts: Sequence[tuple[int, int]] = (), start: int = 0) -> list[Any]:
    """Read the records of fetched bytes as the client does."""
    place = TopicPartition("t", 0)
    return list(
        CommittedRecords(place, FetchedBatches(fetched), aborts, start, None, None, True, 1)  # noqa: FBT003 - the client's own signature
    )


def plain(records: Sequence[Any]) -> list[tuple[int, int | None, Field, Field]]:
    """Return offset, time, key and value of each record."""
    return [(r.offset, r.timestamp, r.key, r.value) for r in records]


@pytest.mark.parametrize("codec", CODECS)
@given(pairs)
def test_records_are_unpacked_in_their_order(codec: int, sent: list[tuple[Field, Field]]) -> None:
    """Records of several batches are read correctly with each codec, with and without headers."""
    fetched = batch(0, sent, codec) + batch(len(sent), sent, codec, headers=[("h", b"x")])
    wanted = [(at, TIME, key, value) for at, (key, value) in enumerate([*sent, *sent])]
    assert plain(read(fetched)) == wanted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetched_batches, "PLAIN_BATCH_BYTES", 0)
        assert plain(read(fetched)) == wanted


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_decompression_bomb_becomes_one_dead_letter(codec: int) -> None:
    """A batch that unpacks to more than its bound is a reference, and its neighbours are read."""
    bomb = batch(1, [(b"c", bytes(30 * MIB)), (b"c", b"behind")], codec)
    fetched = batch(0, [(b"c", b"a")], codec) + bomb + batch(3, [(b"c", b"b")], codec)
    first, letter, last = read(fetched)
    assert (first.value, last.value, last.offset) == (b"a", b"b", 3)
    assert isinstance(letter, RejectedRecords)
    assert (letter.offset, letter.last_offset) == (1, 2)
    assert str(MAX_UNPACKED_BYTES) in letter.reason
    assert letter.content.size == len(bomb)


def test_a_long_value_or_key_is_a_reference() -> None:
    """A long value or key becomes a reference; other records of the batch are read."""
    sent: list[tuple[Field, Field]] = [
        (b"c", b"a"), (b"c", bytes(MAX_RECORD_BYTES + 1)), (bytes(MAX_COMMAND_KEY_BYTES + 1),
        b"v"), (b"c", b"b"),
    ]  # fmt: skip
    first, value, key, last = read(batch(0, sent, 4))
    assert (first.value, last.value) == (b"a", b"b")
    assert isinstance(value, RejectedRecords)
    assert (value.key, value.value, value.content.size) == (b"c", None, MAX_RECORD_BYTES + 1)
    assert isinstance(key, RejectedRecords)
    assert (key.key, key.last_offset, key.content.size) == (None, None, 1)


def test_headers_that_are_not_text_are_skipped() -> None:
    """Headers that are not text are skipped; the client's own class would raise at each fetch."""
    bad = batch(0, [(b"c", b"a"), (b"c", b"b")], 0, headers=[("name", b"x")])
    bad = bad.replace(b"name", b"\xff\xfe\xfd\xfc")
    assert [record.value for record in read(with_crc(bad))] == [b"a", b"b"]


def test_an_unreadable_batch_becomes_one_dead_letter() -> None:
    """A batch with a broken codec or an impossible length is a reference."""
    good = batch(0, [(b"c", b"a")], 4)
    broken = good[:70] + b"\0\0\0\0" + good[74:]
    place = TopicPartition("t", 0)
    (letter,) = CommittedRecords(place, FetchedBatches(broken), (), 0, None, None, False, 1)  # noqa: FBT003 - the client's own signature
    assert isinstance(letter, RejectedRecords)
    assert (letter.offset, letter.last_offset) == (0, 0)
    assert letter.reason.startswith("the batch cannot be")


def test_uncommitted_records_advance_the_offset() -> None:
    """Aborted batches and markers are passed with their offsets, so that none is missing."""
    fetched = (
        aborted(0, [(b"c", b"no"), (b"c", b"no")], producer=7)
        + batch(2, [(b"c", b"yes")])
        + marker(3, producer=7, commit=False)
        + aborted(4, [(b"c", b"also")], producer=7)
        + marker(5, producer=7, commit=True)
    )
    records = read(fetched, [(7, 0)])
    assert [(r.offset, r.value) for r in records if not isinstance(r, SkippedOffsets)] == [
        (2, b"yes"), (4, b"also")
    ]  # fmt: skip
    passed = [(r.offset, r.last_offset) for r in records if isinstance(r, SkippedOffsets)]
    assert passed == [(0, 1), (3, 3), (5, 5)]


def test_one_answer_is_unpacked_in_parts() -> None:
    """A response is unpacked up to a bound, and the next fetch starts after that part."""
    one = [(b"c", bytes(4 * MIB - 100))]
    fetched = b"".join(batch(at, one, 4) for at in range(10))
    records = CommittedRecords(
        TopicPartition("t", 0), FetchedBatches(fetched), (), 0, None, None, True, 1  # noqa: FBT003 - the client's own signature
    )  # fmt: skip
    unpacked = sum(len(record.value or b"") for record in records)
    assert FETCH_BYTES - MIB < unpacked < FETCH_BYTES + MAX_UNPACKED_BYTES
    assert records.next_fetch_offset == unpacked // (4 * MIB - 100)


def test_a_truncated_last_batch_is_skipped() -> None:
    """The broker cuts responses by bytes, so an incomplete last batch is ignored."""
    whole = batch(0, [(b"c", b"a")])
    for cut in range(1, len(whole)):
        assert [r.value for r in read(whole + batch(1, [(b"c", b"b")])[:-cut])] == [b"a"]
    assert PLAIN_BATCH_BYTES < FETCH_BYTES


def test_the_ids_of_a_request_remain_from_the_headers() -> None:
    """Valid ids are fields of the record; all other headers, and wrong values, are dropped."""
    parent, at = f"00-{'a' * 32}-{'b' * 16}-01", Milliseconds(TIME)
    ids = [("request-id", b"abc-12345"), ("traceparent", parent.encode())]
    (record,) = read(batch(0, [(b"k", b"v")], headers=ids))
    assert record == RecordOfRequest(Offset(0), at, b"k", b"v", "abc-12345", parent)
    for wrong in (b"x" * MIB, b"a b c d e f", b"\xff" * 20):
        (record,) = read(batch(0, [(b"k", b"v")], headers=[("request-id", wrong)]))
        assert record == RecordWithoutHeaders(Offset(0), at, b"k", b"v")
