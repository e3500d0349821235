"""The wait for outcomes: each copy of a command gets its own outcome, or none, in any order.

Hypothesis runs several copies of commands through the real rules of the sequencer. The copies are
acknowledged, lost and sequenced in any order, before and after their outcomes are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import DeliveryUnknown
from gateway.limits.command_limits import CommandLimits
from gateway.writes import outcome_waiters
from gateway.writes.command_writer import CommandWriter
from gateway.writes.outcome_waiters import LATE_SECONDS, Outcome, OutcomeWaiters, key_of
from schemas.codec import decode_outcome_fields
from schemas.http_limits import HttpLimitSettings
from schemas.ids import uuid7
from schemas.limits import Limits
from schemas.records import CreateConversation, OutcomeFields, SendMessage, TextContent
from tests.support.sequenced_log import SequencedLog

TEXTS: Final = ["one", "two"]


def generous() -> CommandLimits:
    """Limits that no test reaches."""
    most = 1_000_000
    return CommandLimits(
        HttpLimitSettings.model_construct(
            http_commands_per_second=most, http_conversation_commands_per_second=most
        )
    )


def message(number: int, text: str, device: str = "phone") -> SendMessage:
    """A message with an id of its own number."""
    return SendMessage(
        conv_id="c",
        sender="ann",
        device_id=device,
        client_msg_id=uuid7(number + 1, 0),
        content=TextContent(text=text),
    )


def creation() -> CreateConversation:
    """The creation of the conversation."""
    return CreateConversation(
        conv_id="c",
        sender="ann",
        device_id="desk",
        client_msg_id=uuid7(0, 1),
        members=[],
    )


requests = st.lists(
    st.builds(
        message, st.integers(0, 2), st.sampled_from(TEXTS), st.sampled_from(["phone", "pad"])
    ),
    min_size=1,
    max_size=6,
)
acts = st.lists(st.sampled_from(["acknowledge", "lose", "lose in log", "sequence"]), max_size=10)


async def written(writer: CommandWriter, command: SendMessage) -> Outcome | str | None:
    """Write a command; a text if its delivery is unknown."""
    try:
        return await writer.write(command)
    except DeliveryUnknown:
        return "unknown"


async def outcomes_of(sent: list[SendMessage], steps: list[str]) -> tuple[
    list[Outcome | str | None], SequencedLog
]:  # fmt: skip
    """Write commands concurrently, with acts of the broker and the sequencer in between."""
    log = SequencedLog()
    waiters = OutcomeWaiters()
    log.feed(waiters)
    writer = CommandWriter(log, waiters, Limits(), 0.02, generous())
    await writer.write(creation())
    log.acknowledges = log.sequences = False
    acts_of_log: dict[str, Callable[[], None]] = {
        "acknowledge": log.acknowledge,
        "lose": lambda: log.lose(is_in_log=False),
        "lose in log": lambda: log.lose(is_in_log=True),
        "sequence": log.sequence,
    }
    writing = [asyncio.create_task(written(writer, each)) for each in sent]
    for step in steps:
        await asyncio.sleep(0.001)
        acts_of_log[step]()
    answers = await asyncio.gather(*writing)
    log.sequence()
    return answers, log


@given(requests, acts)
def test_no_outcome_is_that_of_another_copy(sent: list[SendMessage], steps: list[str]) -> None:
    """A known outcome is true: the entry has the text of the request, or its text was refused."""
    answers, log = asyncio.run(outcomes_of(sent, steps))
    entries = {fields.seq: value for fields, value in entries_of(log)}
    for command, answer in zip(sent, answers, strict=True):
        if not isinstance(answer, Outcome):
            continue
        if answer.kind == "rejected":
            assert answer.code in {"conflict", "stale"}
        else:
            value = entries[answer.seq]
            assert command.content.text.encode() in value
            assert command.client_msg_id.encode() in value


def entries_of(log: SequencedLog) -> list[tuple[OutcomeFields, bytes]]:
    """The fields and the value of each entry."""
    return [(decode_outcome_fields(value), value) for _, value in log.entries]


@given(requests)
def test_with_a_working_log_every_request_has_its_outcome(sent: list[SendMessage]) -> None:
    """Repetitions, concurrent or not, of any content and device, never remain without outcome."""

    async def all_written() -> list[Outcome | None]:
        log, waiters = SequencedLog(), OutcomeWaiters()
        log.feed(waiters)
        writer = CommandWriter(log, waiters, Limits(), 5, generous())
        await writer.write(creation())
        answers = list(await asyncio.gather(*map(writer.write, sent)))
        assert len(waiters) == 0
        return answers

    answers = asyncio.run(all_written())
    assert None not in answers


@given(st.integers(1, 30), st.integers(1, 10))
def test_what_is_remembered_is_bounded_in_number_and_in_time(count: int, most: int) -> None:
    """The oldest commands without an outcome are forgotten first, and all of them in the end."""
    now = 0.0

    async def remembered() -> None:
        nonlocal now
        waiters = OutcomeWaiters(lambda: now)
        sent = [message(number, "one") for number in range(count)]
        for command in sent:
            waiters.remember(waiters.register(command))
        known = [waiters.late(key_of(command)) is not None for command in sent]
        assert known == [number >= count - most for number in range(count)]
        now += LATE_SECONDS
        assert waiters.late(key_of(sent[-1])) is None
        waiters.remember(waiters.register(message(count, "one")))
        assert len(waiters) == 1
        assert not waiters.concerns_sender(b"bob")

    before = outcome_waiters.MAX_LATE
    outcome_waiters.MAX_LATE = most
    try:
        asyncio.run(remembered())
    finally:
        outcome_waiters.MAX_LATE = before


def test_a_request_that_is_cancelled_can_be_asked_for() -> None:
    """A client that went away finds the outcome of its command by the status."""

    async def cancelled() -> None:
        log, waiters = SequencedLog(), OutcomeWaiters()
        log.feed(waiters)
        writer = CommandWriter(log, waiters, Limits(), 5, generous())
        await writer.write(creation())
        log.sequences = False
        writing = asyncio.create_task(writer.write(message(1, "one")))
        await asyncio.sleep(0.01)
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        log.sequence()
        await asyncio.sleep(0.01)
        late = waiters.late(key_of(message(1, "one")))
        assert late is not None
        assert late.outcome.result().seq == 2

    asyncio.run(cancelled())
