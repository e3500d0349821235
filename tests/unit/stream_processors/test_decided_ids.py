"""Decided ids: repeated commands, new installations and very many devices, by example."""

from __future__ import annotations

from typing import Any

from schemas.ids import uuid7
from schemas.limits import (
    DEDUP_WINDOW,
    MAX_DEDUP_DEVICES,
    REFUSALS_OF_A_STRANGER,
    STRANGER_REFUSALS,
)
from schemas.number_types import SeqId
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    MarkRead,
    SendMessage,
    TextContent,
)
from stream_processors.core.state import Conversation, MemberJoined
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.frozen import freeze
from stream_processors.state.state_codec import (
    LaneProgress,
    moved_record,
    restored,
    split_key,
    state_record,
)
from tests.support.sequencing import SMALL_LIMITS, Commit, Crash, Log, run, source

GROUP = CreateConversation(
    conv_id="c", sender="own", device_id="x", client_msg_id=uuid7(0, 0), members=["ann"],
    join="open",
)  # fmt: skip
YEAR_MS = 365 * 24 * 3600 * 1000


def say(number: int, sender: str = "ann", **more: Any) -> SendMessage:
    """A message with the id of this number."""
    fields: dict[str, Any] = {"conv_id": "c", "device_id": "phone"} | more
    content = TextContent(text="hi")
    return SendMessage(sender=sender, client_msg_id=uuid7(number, 0), content=content, **fields)


def join(number: int, sender: str) -> AddMembers:
    """A person joins by a command of a second device of this person."""
    return AddMembers(
        conv_id="c", sender=sender, device_id="desk", client_msg_id=uuid7(number, 0),
        members=[sender],
    )  # fmt: skip


def test_a_rejected_command_is_rejected_again_after_its_sender_has_joined() -> None:
    """A rejection is repeated after the sender joined, with or without a later id or a restart."""
    joined: list[AnyCommand] = [join(1, "bob"), say(8, "bob")]
    for between in (joined, joined[:1], [*joined, Commit, Crash]):
        log = run([GROUP, say(7, "bob"), *between, say(7, "bob")])
        assert log.rejections_of("bob") == ["not_a_member", "not_a_member"]


def test_a_command_to_a_conversation_that_is_made_later_stays_rejected() -> None:
    """The rejection is remembered, although the conversation did not exist at that time."""
    log = run([say(7, "own"), Commit, Crash, GROUP, say(7, "own"), say(8, "own")])
    assert log.rejections_of("own") == ["unknown_conversation"] * 2
    assert [entry.client_msg_id for entry in log.timeline_of("c")][1:] == [uuid7(8, 0)]


def test_a_rejected_read_mark_is_rejected_again() -> None:
    """A rejected mark stays rejected after the head grows, or after the stranger joined."""
    marks = [
        MarkRead(
            conv_id="c", sender=user, device_id="phone", client_msg_id=uuid7(3, 0), seq=SeqId(2)
        )
        for user in ("ann", "bob")
    ]
    log = run([GROUP, *marks, join(1, "bob"), say(4), *marks])
    assert log.rejections_of("ann") == ["invalid", "invalid"]
    assert log.rejections_of("bob") == ["not_a_member", "not_a_member"]


def test_an_unseen_id_below_the_newest_is_permanently_stale() -> None:
    """A new id below the newest decided id is stale, also when the newest one was rejected."""
    long = SendMessage(
        conv_id="c", sender="ann", device_id="phone", client_msg_id=uuid7(9, 0),
        content=TextContent(text="x" * 100),
    )  # fmt: skip
    log = run([GROUP, long, say(8), say(10), say(8), say(9)])
    assert log.rejections_of("ann") == ["too_large", "stale", "stale", "conflict"]


def test_a_new_installation_can_send_after_any_clock() -> None:
    """After forty messages with ids a year ahead, a new installation of the device can send."""
    ahead = [say(YEAR_MS + number, installation="first") for number in range(40)]
    log = run([GROUP, *ahead, say(5), say(6, installation="second"), say(5)])
    assert len(log.timeline_of("c")) == 1 + 40 + 2
    assert log.rejections_of("ann") == []


def test_the_state_of_the_devices_of_one_sender_is_bounded() -> None:
    """State in memory and log has a bound; no id is accepted twice, and a new device can send."""
    states: dict[bytes, bytes | None] = {}
    conversations, batch = Conversations(), Log()
    sequencer = Sequencer(SMALL_LIMITS, conversations, LaneProgress())
    steps: list[AnyCommand] = [GROUP, *(say(n, device_id=f"d{n}") for n in range(1, 2_001))]
    sizes = []
    conversation = None
    for offset, command in enumerate([*steps, *steps[1:40], say(3_000, device_id="d1")]):
        sequencer.process(source(offset, command), batch)
        if offset % 50 == 0:
            sequencer.write_last(batch)
            states |= batch.states
            batch.states.clear()
            conversation = conversations.get("c")
            assert conversation is not None
            sizes.append(len(freeze(conversation)))
    assert conversation is not None
    assert len(conversation.devices["ann"].windows) == MAX_DEDUP_DEVICES
    assert len(states) < 4 * MAX_DEDUP_DEVICES + 200
    assert max(sizes[20:40]) < 2 * min(sizes[20:40])
    entries = [entry.client_msg_id for entry in batch.timeline_of("c")]
    assert len(entries) == len(set(entries)) == 1 + 2_000 + 1
    assert set(batch.rejections_of("ann")) == {"stale"}


def test_the_state_of_a_stranger_is_bounded() -> None:
    """The refusals remembered for strangers have a bound for each person and for all of them."""
    sequencer, batch = (
        Sequencer(SMALL_LIMITS, conversations := Conversations(), LaneProgress()),
        Log(),
    )
    for offset in range(3 * REFUSALS_OF_A_STRANGER):
        command = say(offset, conv_id=f"c{offset}", device_id=f"d{offset}")
        sequencer.process(source(offset, command), batch)
    assert len(dict(batch.states)) == len(conversations.strangers) == REFUSALS_OF_A_STRANGER
    assert len(conversations) == 0
    for offset in range(3 * REFUSALS_OF_A_STRANGER, 2 * STRANGER_REFUSALS):
        sequencer.process(source(offset, say(offset, f"u{offset}")), batch)
    assert len(dict(batch.states)) == len(conversations.strangers) == STRANGER_REFUSALS


def test_the_outcome_of_a_full_window_is_remembered() -> None:
    """A copy of each of the last ids gets its SeqId; the id before them is stale."""
    first = [say(number) for number in range(1, DEDUP_WINDOW + 2)]
    log = run([GROUP, *first, Commit, Crash, *first])
    assert log.rejections_of("ann") == ["stale"]
    assert len(log.timeline_of("c")) == 1 + DEDUP_WINDOW + 1


def test_a_conversation_with_an_id_of_any_length_is_restored() -> None:
    """Keys with short and with the longest ids are split and restored correctly."""
    for length in (1, 2, 31, 32, 128):
        for name in ("c" * length, "字" * length):
            key, _ = moved_record(name, Conversation())
            assert split_key(key) == (name.encode(), b"c")
            key, value = state_record(name, MemberJoined(name, SeqId(7)))
            conv_id, rest = split_key(key)
            assert conv_id == name.encode()
            assert restored(rest, value) == MemberJoined(name, SeqId(7))
