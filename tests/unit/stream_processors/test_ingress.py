"""A record that is not a command of the lane becomes a dead letter and has no other effect."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from backends.kafka.clients import partition_of
from schemas.codec import decode, decode_command, decode_entry, decode_position, encode
from schemas.dead_letters import (
    MAX_LETTER_VALUE_BYTES,
    WRONG_PARTITION,
    ContentDigest,
    Origin,
    letter_headers,
    letter_key,
    letter_value,
)
from schemas.errors import UndecodableRecord
from schemas.limits import MAX_REASON_LENGTH
from schemas.number_types import Milliseconds, Offset, SeqId
from schemas.records import AnyCommand, MarkRead, MessageSent, RecallMessage, Rejected
from stream_processors.commit.producer_settings import MAX_WRITTEN_BYTES
from stream_processors.core import decide as decisions
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress
from tests.support.commands import growing_group, message
from tests.support.hostile import hostile, keys, timestamps, worst
from tests.support.sequencing import SMALL_LIMITS, Log, Source, source

PARTITIONS = 4
SECRET = str(0x5EC2E7)
"""Computed, because a traceback quotes the source line."""


def a_lane(partition: int = 0, partitions: int = 1) -> Sequencer:
    """A lane of a partition without a state."""
    return Sequencer(SMALL_LIMITS, Conversations(), LaneProgress(), partition, partitions)


def handle(lane: Sequencer, records: Sequence[Source]) -> Log:
    """Process the records in one transaction; return what the transaction writes."""
    log = Log()
    for record in records:
        lane.process(record, log)
    lane.write_last(log)
    return log


def test_a_command_on_another_partition_is_a_dead_letter() -> None:
    """A valid command on a wrong partition is a dead letter and creates no conversation."""
    own = partition_of("c1", PARTITIONS)
    for partition in range(PARTITIONS):
        lane = a_lane(partition, PARTITIONS)
        commands = growing_group(2)
        log = handle(lane, [source(at, command) for at, command in enumerate(commands)])
        if partition == own:
            assert [entry.seq for entry in log.timeline_of("c1")] == [1, 2]
            continue
        assert [letter.reason for letter in log.letters] == [WRONG_PARTITION] * 2
        assert (log.entries, log.syncs, log.states) == ([], [], [])
        assert lane.counts.dead_letters == 2


@pytest.mark.parametrize("value", worst())
def test_hostile_values_become_short_dead_letters(value: bytes) -> None:
    """Nesting, huge numbers and long strings do not stop a lane; the reason quotes nothing."""
    lane = a_lane()
    commands = [*growing_group(1), message(2)]
    records = [
        source(0, commands[0]),
        Source(Offset(1), Milliseconds(1_000), b"c1", value),
        source(2, commands[1]),
    ]
    log = handle(lane, records)
    assert [type(entry) for entry in log.timeline_of("c1")][-1] is MessageSent
    (letter,) = log.letters
    assert letter.offset == 1
    assert len(letter.reason) <= MAX_REASON_LENGTH
    assert "kkk" not in letter.reason


@given(st.lists(st.tuples(keys, hostile, timestamps), max_size=4))
def test_a_valid_command_after_any_other_is_sequenced(
    odd: list[tuple[bytes | None, bytes | None, Milliseconds | None]],
) -> None:
    """Any bytes, mutated commands, keys and times do not prevent the next valid command."""
    lane = a_lane()
    records: list[Source] = [source(0, growing_group(1, "mine")[0])]
    records += [
        Source(Offset(at), time, key, value) for at, (key, value, time) in enumerate(odd, 1)
    ]
    records.append(source(len(records), message(1, conv_id="mine")))
    log = handle(lane, records)
    assert [entry.seq for entry in log.timeline_of("mine")] == [1, 2]
    assert all(len(letter.reason) <= MAX_REASON_LENGTH for letter in log.letters)


@given(hostile)
def test_a_decoder_raises_nothing_but_its_error(value: bytes | None) -> None:
    """For any bytes, each decoder returns a record or raises `UndecodableRecord`."""
    for decoder in (decode_command, decode_entry, decode_position):
        try:
            decoder(value)
        except UndecodableRecord as error:
            assert len(str(error)) <= MAX_REASON_LENGTH  # noqa: PT017 - most values are refused


def test_a_reason_names_the_field_but_not_the_value() -> None:
    """The reason has the path of the wrong field and never its value."""
    for text in (b"secret", b"secret - at `$.kind`", b"secret' - at `$.kind`"):
        value = encode(message(1)).replace(b"send_message", text)
        with pytest.raises(UndecodableRecord) as caught:
            decode_command(value)
        assert str(caught.value) == "Invalid value - at `$.kind`"
    with pytest.raises(UndecodableRecord) as caught:
        decode_command(b'{"kind":"secret`"}')
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("seq", [1 << 63, -(1 << 70), 10**30])
def test_a_huge_number_is_rejected_with_a_code(seq: int) -> None:
    """A decodable command with a huge number gets a rejection with a code."""
    lane = a_lane()
    common = structs.asdict(message(1))
    del common["content"], common["mentions"], common["v"]
    later = common | {"client_msg_id": message(2).client_msg_id}
    odd: list[AnyCommand] = [
        MarkRead(**common, seq=SeqId(seq)),
        RecallMessage(**later, seq=SeqId(seq)),
    ]
    commands: list[AnyCommand] = [growing_group(1)[0], *odd, message(3)]
    log = handle(lane, [source(at, command) for at, command in enumerate(commands)])
    codes = [each.code for each in log.sync_of("u0") if isinstance(each, Rejected)]
    assert codes == ["invalid", "unknown_message"]
    assert [entry.seq for entry in log.timeline_of("c1")] == [1, 2]


def test_an_unforeseen_error_is_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect costs only the record that triggers it; the log has the type, not the record."""
    lane = a_lane()

    def fail(*_: object) -> None:
        raise ZeroDivisionError(SECRET)

    handle(lane, [source(0, growing_group(1)[0])])
    with monkeypatch.context() as patch:
        patch.setattr(decisions, "_send", fail)
        log = handle(lane, [source(1, message(1))])
    assert [letter.reason for letter in log.letters] == ["it cannot be handled: ZeroDivisionError"]
    assert "ZeroDivisionError" in caplog.text
    assert SECRET not in caplog.text
    assert [entry.seq for entry in handle(lane, [source(2, message(2))]).timeline_of("c1")] == [2]


def test_no_dead_letter_exceeds_the_limit_of_the_producer() -> None:
    """The longest key, value, reason and names together are within the producer's limit."""
    origin = Origin("n" * 249, (1 << 31) - 1, Offset((1 << 63) - 1), Offset((1 << 63) - 1))
    headers = letter_headers(
        "s" * 249, "\U0001f600" * 4_000, origin, ContentDigest(1 << 62, "f" * 64)
    )
    size = sum(len(name) + len(value or b"") for name, value in headers)
    assert size < 2_000
    for length in (MAX_LETTER_VALUE_BYTES, MAX_LETTER_VALUE_BYTES + 1, 50_000_000):
        kept = len(letter_value(b"x" * length) or b"") + len(letter_key(b"x" * length) or b"")
        assert kept + size + 1_024 < MAX_WRITTEN_BYTES


def test_the_size_of_a_value_is_checked_before_decoding() -> None:
    """`decode` checks the size of a value before the decoder reads the value."""

    class Never:
        def decode(self, value: bytes) -> None:
            raise AssertionError(len(value))

    with pytest.raises(UndecodableRecord, match="more than"):
        decode(Never(), b"x" * 5_000_000)  # type: ignore[arg-type] # acts as a decoder
