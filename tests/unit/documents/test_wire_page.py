"""The page for producers in other languages agrees with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from aiokafka.partitioner import DefaultPartitioner, murmur2

from backends.kafka.clients import partition_of
from schemas.codec import decode_command, decode_entry, decode_sync_record
from schemas.dead_letters import (
    MAX_LETTER_KEY_BYTES,
    MAX_LETTER_VALUE_BYTES,
    ContentDigest,
    Origin,
    letter_headers,
)
from schemas.limits import (
    MAX_ENTRY_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_REASON_LENGTH,
    MAX_RECORD_BYTES,
)
from schemas.number_types import Offset
from schemas.recipients import is_recipient, recipients_key, recipients_of
from schemas.records import AnyCommand, AnyEntry, AnyReply, Retracted
from stream_processors.sequencing.batch_codecs import MAX_UNPACKED_BYTES
from stream_processors.sequencing.headerless_records import MAX_COMMAND_KEY_BYTES

PAGE: Final = (Path(__file__).parents[3] / "docs" / "wire.md").read_text(encoding="utf-8")

KEYS: Final = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \| `([0-9a-f]+)` \|$", PAGE, re.MULTILINE)

PUBLISHED: Final = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
}
"""From ``UtilsTest.testMurmur2`` in Apache Kafka."""

_VECTOR: Final = re.compile(r"^\| `(.+)` \| (-?\d+) \| (\d+) \|$", re.MULTILINE)
VECTORS: Final = [
    (key, int(number), int(partition)) for key, number, partition in _VECTOR.findall(PAGE)
]


def examples(info: str) -> list[str]:
    """The lines of the code blocks of a kind."""
    blocks = re.findall(rf"^```{info}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def tags(union: Any) -> set[str]:
    """The kinds of a union of records."""
    return {str(kind.__struct_config__.tag) for kind in get_args(union)}


def test_the_test_vectors_are_those_of_the_java_client() -> None:
    """The page has five published values of Kafka, and two keys that are not ASCII."""
    assert {key: number for key, number, _ in VECTORS if key in PUBLISHED} == PUBLISHED
    assert sum(not key.isascii() for key, _, _ in VECTORS) == 2


@pytest.mark.parametrize(("key", "number", "partition"), VECTORS)
def test_each_vector_has_its_partition(key: str, number: int, partition: int) -> None:
    """Our hash, our producers and aiokafka's partitioner agree with each vector."""
    assert murmur2(key.encode()) == number % (1 << 32)
    assert partition_of(key, 8) == partition
    everything = list(range(8))
    assert DefaultPartitioner()(key.encode(), everything, everything) == partition


def test_the_page_has_an_example_of_each_kind() -> None:
    """The page has an example of each kind, which this version decodes."""
    commands = [decode_command(line.encode()) for line in examples("json")]
    entries = [decode_entry(line.encode()) for line in examples("json entry")]
    replies = [decode_sync_record(line.encode()) for line in examples("json sync")]
    for found, kinds in (
        (commands, tags(AnyCommand)),
        (entries, tags(AnyEntry)),
        (replies, tags(AnyReply) | {str(Retracted.__struct_config__.tag)}),
    ):
        assert {str(record.__struct_config__.tag) for record in found} == kinds


def test_the_example_of_a_dead_letter_has_its_headers() -> None:
    """The example of a dead letter has all headers of a letter for a single record."""
    (line,) = examples("json headers")
    headers = letter_headers("s", "r", Origin("t", 0, Offset(0)), ContentDigest(0, ""))
    assert set(json.loads(line)) == {name for name, _ in headers}
    with_batch = letter_headers(
        "s", "r", Origin("t", 0, Offset(0), Offset(1)), ContentDigest(0, "")
    )
    for name, _ in with_batch:
        assert f"`{name}`" in PAGE


def test_the_limits_are_those_of_the_code() -> None:
    """The limits on the page equal those of the code."""
    mib, kib = 1024 * 1024, 1024
    limits = {
        "a value": (MAX_RECORD_BYTES, mib, "MiB"),
        "a batch, unpacked": (MAX_UNPACKED_BYTES, mib, "MiB"),
        "a key": (MAX_COMMAND_KEY_BYTES, kib, "KiB"),
    }
    for name, (number, unit, suffix) in limits.items():
        assert f"| {name} | {number // unit} {suffix} |" in PAGE
    assert (
        f"| ids, text and mentions of a message, as JSON | {MAX_MESSAGE_BYTES:,} bytes |" in PAGE
    )
    assert f"| an entry | {MAX_ENTRY_BYTES:,} bytes |" in PAGE
    assert f"at most {MAX_REASON_LENGTH} characters" in PAGE
    assert f"more than {MAX_LETTER_KEY_BYTES:,} bytes" in PAGE
    assert mib == MAX_LETTER_VALUE_BYTES


def test_the_keys_of_sync_records_on_the_page_are_those_of_the_code() -> None:
    """Each key on the page encodes its recipients, and only these recipients find the record."""
    assert len(KEYS) == 3
    for names, digits in KEYS:
        users, key = re.findall(r"`([^`]+)`", names), bytes.fromhex(digits)
        assert recipients_key(users) == key
        assert recipients_of(key) == [user.encode() for user in users]
        assert all(is_recipient(user.encode(), key) for user in users)
        assert not is_recipient(b"an", key)
