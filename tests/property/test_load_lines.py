"""Conversion of a chat log's lines to commands."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ops.load.chat_lines import ChatLine, Conversion
from schemas.ids import uuid7_parts
from schemas.limits import Limits
from schemas.number_types import Milliseconds
from schemas.records import (
    AnyCommand,
    CreateConversation,
    MembersAdded,
    MessageSent,
    Rejected,
    SendMessage,
)
from stream_processors.core.decide import decide
from stream_processors.core.outcome import Accept
from stream_processors.core.state import Conversation

# Few seconds, so that times are equal or decrease.
times = st.integers(-5, 20).map(lambda s: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
lines = st.builds(
    ChatLine,
    conv=st.sampled_from(["c1", "c2"]),
    at=times,
    kind=st.sampled_from(["message", "message", "join", "leave"]),
    user=st.sampled_from(["ann", "bob", "|QuaD-"]),
    text=st.sampled_from(["", " ", "hi"]),
)
logs = st.lists(lines, max_size=60)


def convert(log: list[ChatLine]) -> list[AnyCommand]:
    """Return the commands of a whole log."""
    conversion = Conversion()
    return [command for line in log for command in conversion.commands(line)]


@given(logs, st.integers(0, 60))
def test_a_log_gives_the_same_commands_each_time(log: list[ChatLine], limit: int) -> None:
    """A repeated load, also of a beginning only, gives the same ids for the same lines."""
    commands = convert(log)
    assert convert(log) == commands
    beginning = convert(log[:limit])
    assert beginning == commands[: len(beginning)]


@given(logs)
def test_the_ids_of_each_device_increase(log: list[ChatLine]) -> None:
    """Ids increase for each (conversation, sender, device), with any times of the lines."""
    last: dict[tuple[str, str], str] = defaultdict(str)
    for command in convert(log):
        author = command.conv_id, command.sender
        assert command.client_msg_id > last[author]
        last[author] = command.client_msg_id


@given(logs)
def test_an_id_has_the_time_of_its_line(log: list[ChatLine]) -> None:
    """An id has the time of its line, or of the latest line so far if times decrease."""
    conversion, latest = Conversion(), Counter[str]()
    for line in log:
        latest[line.conv] = max(latest[line.conv], int(line.at.timestamp() * 1000))
        for command in conversion.commands(line):
            assert uuid7_parts(command.client_msg_id)[0] == latest[line.conv]


@given(logs)
def test_the_sequencer_accepts_every_command(log: list[ChatLine]) -> None:
    """The sequencer accepts each command; each line has its effect, or is counted as skipped."""
    conversion = Conversion()
    conversations: dict[str, Conversation] = defaultdict(Conversation)
    effects: Counter[str] = Counter()
    for line in log:
        for command in conversion.commands(line):
            conversation = conversations[command.conv_id]
            decision = decide(Limits(), conversation, command, Milliseconds(0))
            assert isinstance(decision, Accept)
            decision.apply_to(conversation)
            deliveries = decision.effect.deliveries
            effects.update(type(delivery.entry).__name__ for delivery in deliveries)
        if line.kind == "join" or (line.kind == "message" and line.text == "hi"):
            assert line.user in conversations[line.conv].members
        elif line.kind == "leave" and line.conv in conversations:
            assert line.user not in conversations[line.conv].members
    kinds = Counter(line.kind for line in log)
    assert effects[MessageSent.__name__] == kinds["message"] - conversion.skipped_empty
    assert effects["MembersRemoved"] == kinds["leave"] - conversion.skipped_leaves
    assert effects["ConversationCreated"] == conversion.created
    joins = effects["ConversationCreated"] + effects[MembersAdded.__name__]
    assert joins == kinds["join"] - conversion.skipped_joins + conversion.added_speakers


@given(logs)
def test_loading_again_in_any_state_changes_nothing(log: list[ChatLine]) -> None:
    """Each command of a second load is a duplicate or stale."""
    conversations: dict[str, Conversation] = defaultdict(Conversation)
    for number, command in enumerate(convert(log) * 2):
        decision = decide(Limits(), conversations[command.conv_id], command, Milliseconds(0))
        if number < len(convert(log)):
            assert isinstance(decision, Accept)
            decision.apply_to(conversations[command.conv_id])
        else:
            assert not isinstance(decision, Accept)
            assert not isinstance(decision, Rejected) or decision.code == "stale"


def test_a_conversation_of_a_log_becomes_the_expected_commands() -> None:
    """An example: who creates, who joins, and which lines are skipped."""
    at = datetime(2004, 12, 25, 9, 14, tzinfo=UTC)
    log = [
        ChatLine("c", at, "leave", "eve"),
        ChatLine("c", at, "message", "ann", "hi"),
        ChatLine("c", at, "join", "ann"),
        ChatLine("c", at, "message", "bob", "ho"),
        ChatLine("c", at, "leave", "bob"),
        ChatLine("c", at, "message", "bob", "back"),
    ]
    conversion = Conversion()
    commands = [conversion.commands(line) for line in log]
    kinds = [[type(command).__name__ for command in of_line] for of_line in commands]
    assert kinds == [
        [],
        ["CreateConversation", "SendMessage"],
        [],
        ["AddMembers", "SendMessage"],
        ["RemoveMembers"],
        ["AddMembers", "SendMessage"],
    ]
    created, said = commands[1]
    assert isinstance(created, CreateConversation)
    assert (created.members, created.join) == (["ann"], "open")
    assert isinstance(said, SendMessage)
    assert said.content.text == "hi"
    assert (said.sender, said.device_id) == ("ann", "import")
    assert (conversion.skipped_joins, conversion.skipped_leaves) == (1, 1)
