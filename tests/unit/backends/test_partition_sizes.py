"""Each partition of the store is below 100 MB: the worst case of each table, from the constants.

The limits of the sequencer are tested with the sequencer's own decisions.
`tests/integration/test_partitions.py` writes such rows and reads their size from the server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import pytest
from cassandra.cluster import Session
from hypothesis import given
from hypothesis import strategies as st

from backends.cassandra.tables import create_tables
from schemas.codec import encode
from schemas.ids import uuid7
from schemas.limits import (
    MAX_EDITS,
    MAX_ENTRY_BYTES,
    MAX_MESSAGE_BYTES,
    MEMBER_BUCKETS,
    MESSAGE_BUCKET,
    PARTITION_BYTES,
    SYNC_BUCKET,
    Limits,
)
from schemas.number_types import Milliseconds, SeqId, SyncSeqId
from schemas.records import (
    MAX_ID_LENGTH,
    AddMembers,
    AnyCommand,
    AnyEntry,
    CreateConversation,
    Duplicate,
    EditMessage,
    RecallMessage,
    Rejected,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from schemas.settings import Settings
from schemas.sync_rows import decode_row, references
from schemas.texts import is_blank, message_bytes
from sinks.cassandra.sync_parts import MAX_REFERENCES, MAX_ROW_BYTES, parts_of
from sinks.cassandra.sync_places import SyncPlacement
from stream_processors.core.decide import decide
from stream_processors.core.outcome import Accept
from stream_processors.core.recent import RememberedMessage
from stream_processors.core.state import Conversation, ConversationState

ROW_BYTES: Final = 64
"""Cassandra's overhead of a row: flags, lengths, times of writing and of expiry."""

ID_BYTES: Final = 4 * MAX_ID_LENGTH
NUMBER_BYTES: Final = 8
KIND_BYTES: Final = 32
RULE_BYTES: Final = len("since_join")
MAX_NUMBER: Final = (1 << 63) - 1
MOST_MEMBERS_PER_ENTRY: Final = 1_000
"""The highest value of the setting."""

PLANNED_MEMBERS: Final = 1_920_000
"""People who ever were members of one conversation."""

PLANNED_SYNC_RECORDS: Final = 100_000
"""Records per second of a whole deployment, permanently."""

LISTED_LIFETIMES: Final = 1.25
"""A partition is listed for a little longer than its rows live."""

WIDE: Final = "\U0001f600" * MAX_ID_LENGTH
ids = st.one_of(
    st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=MAX_ID_LENGTH),
    st.integers(0, 9).map(lambda n: WIDE[:-1] + str(n)),
    st.integers(0, 9).map(lambda n: '"' * (MAX_ID_LENGTH - 1) + str(n)),
)
texts = st.builds(
    lambda part, times: part * times,
    st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["x", "\x00", '"', "陈", "\n"])),
    st.integers(0, 9_000),
)
LATE: Final = MAX_NUMBER - 50_000
CLIENT_MSG_ID: Final = uuid7(0, 0)


def common(conv_id: str, sender: str) -> dict[str, Any]:
    """The common fields of all commands."""
    return {
        "conv_id": conv_id,
        "sender": sender,
        "device_id": "d",
        "client_msg_id": CLIENT_MSG_ID,
    }


def entries_of(command: AnyCommand, limits: Limits, *members: str) -> list[AnyEntry] | str:
    """The entries of a command late in a long conversation, or the code of its rejection."""
    conversation = Conversation()
    if not isinstance(command, CreateConversation):
        conversation.head = ConversationState(command.sender, "open", "push", SeqId(LATE))
        conversation.members.update(dict.fromkeys((command.sender, *members), SeqId(1)))
        conversation.remember(
            SeqId(LATE),
            RememberedMessage(
                command.sender, Milliseconds(MAX_NUMBER), edits=(SeqId(LATE),) * (MAX_EDITS - 1)
            ),
        )
    decision = decide(limits, conversation, command, Milliseconds(MAX_NUMBER))
    if isinstance(decision, Accept):
        return [delivery.entry for delivery in decision.effect.deliveries]
    assert isinstance(decision, Rejected)
    return decision.code


def test_a_partition_of_messages_is_below_the_bound() -> None:
    """A bucket of the longest entries, by the longest sender, is below the limit."""
    row = MAX_ENTRY_BYTES + ID_BYTES + KIND_BYTES + 2 * NUMBER_BYTES + ROW_BYTES
    assert MESSAGE_BUCKET * row < PARTITION_BYTES


def test_a_partition_of_sync_records_is_below_the_bound() -> None:
    """A bucket with a row of the maximum length at each offset is below the limit.

    Each offset of a recipient's records can be the key of a row, if flushes are repeated with
    other ends. The bound does not depend on the number of repetitions.
    """
    row = MAX_ROW_BYTES + NUMBER_BYTES + ROW_BYTES
    assert SYNC_BUCKET * row < PARTITION_BYTES


@given(
    st.lists(
        st.tuples(st.sampled_from(["c", WIDE, '"' * MAX_ID_LENGTH]), st.sampled_from([0, 9_000])),
        min_size=1, max_size=250,
    )
)  # fmt: skip
def test_no_row_of_sync_records_is_longer_than_the_bound(records: list[tuple[str, int]]) -> None:
    """For any conversations and replies, a row is within its bounds in bytes and in references."""
    places = [
        SyncPlacement(
            at,
            SyncSeqId(at),
            conv_id,
            SeqId(MAX_NUMBER),
            b'"%s"' % (b"x" * reply) if reply else None,
        )
        for at, (conv_id, reply) in enumerate(records)
    ]
    rows = [row for part in parts_of(places) for row in part.rows]
    found = [references(decode_row(row.records)) for row in rows]
    assert [each.sync_seq for held in found for each in held] == list(range(len(records)))
    assert all(len(row.records) <= MAX_ROW_BYTES for row in rows)
    assert all(len(held) <= MAX_REFERENCES for held in found)


def test_a_partition_of_members_is_below_the_bound() -> None:
    """A bucket with the planned number of people with the longest ids is below the limit."""
    row = ID_BYTES + 2 * NUMBER_BYTES + RULE_BYTES + 1 + ROW_BYTES
    assert PLANNED_MEMBERS // MEMBER_BUCKETS * row < PARTITION_BYTES


class Tables:
    """A session that records the statements of `create_tables` by table."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    @property
    def cluster(self) -> Tables:
        """The cluster, which has nothing else."""
        return self

    def refresh_keyspace_metadata(self, keyspace: str, *, max_schema_agreement_wait: int) -> None:
        """Read nothing."""

    def set_keyspace(self, keyspace: str) -> None:
        """Accept any keyspace."""

    def execute(self, statement: str, _: object = None) -> list[tuple[Any, ...]]:
        """Record a statement; return no existing tables."""
        found = re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", statement)
        if found:
            self.made[found[1]] = statement
        return []


SUMMED_UP: Final = {
    "message", "sync", "membership_by_conversation", "membership_by_user", "sync_bucket",
}  # fmt: skip
"""Summed up above, and written by ``tests/integration/test_partitions.py``."""

FEW_ROWS: Final = {"device", "device_cursor", "sync_expiry"}
"""Rows of a person's devices and of lifetimes; `backends.cassandra.tables` has their limits."""


def test_each_table_has_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each other table has one row in a partition, or few rows because of another limit."""
    tables = Tables()
    monkeypatch.setattr(
        "backends.cassandra.tables.check_tables", lambda *_: None
    )  # queries a server
    create_tables(cast(Session, tables), Settings())
    one_row = {
        name for name, made in tables.made.items()
        if re.search(r"PRIMARY KEY \(\([^()]*\)\)|(text|int) PRIMARY KEY", made)
    }  # fmt: skip
    assert one_row == {"conversation", "deployment", "read_mark"}
    assert set(tables.made) == SUMMED_UP | FEW_ROWS | one_row


def test_a_partition_of_listed_buckets_is_below_the_bound() -> None:
    """The list for a record in every bucket, at the planned rate, is below the limit."""
    settings = Settings()
    listed_seconds = LISTED_LIFETIMES * settings.sync_lifetime.total_seconds()
    offsets = PLANNED_SYNC_RECORDS // settings.sync_partitions * listed_seconds
    assert offsets // SYNC_BUCKET * (NUMBER_BYTES + ROW_BYTES) < PARTITION_BYTES


@given(ids, ids, texts, st.lists(ids, max_size=100))
def test_no_message_makes_an_entry_above_the_bound(
    conv_id: str, sender: str, text: str, mentions: list[str]
) -> None:
    """For any text, ids and mentions, the entry is within the limit or the message is rejected."""
    content = TextContent(text=text)
    command = SendMessage(**common(conv_id, sender), content=content, mentions=mentions)
    found = entries_of(command, Limits())
    if found == "empty":
        assert is_blank(text)
    elif found == "too_large":
        too_long = len(text.encode()) > Limits().max_text_bytes
        assert too_long or message_bytes(conv_id, sender, content, mentions) > MAX_MESSAGE_BYTES
    else:
        assert [len(encode(entry)) <= MAX_ENTRY_BYTES for entry in found] == [True]


@pytest.mark.parametrize("say", [SendMessage, partial(EditMessage, seq=SeqId(LATE))])
def test_the_longest_message_is_accepted(say: Callable[..., AnyCommand]) -> None:
    """The longest message makes an entry within its limit, and one more byte is refused.

    A message and an edit have the same limit, and the entry of an edit uses all of it.
    """
    room = MAX_MESSAGE_BYTES - message_bytes(WIDE, WIDE, TextContent(text=""), [])
    for more, accepted in ((0, True), (1, False)):
        command = say(**common(WIDE, WIDE), content=TextContent(text="x" * (room + more)))
        found = entries_of(command, Limits(max_text_bytes=MAX_ENTRY_BYTES))
        if accepted:
            assert [len(encode(entry)) <= MAX_ENTRY_BYTES for entry in found] == [True]
        else:
            assert found == "too_large"


@given(ids, ids, texts, st.lists(ids, max_size=100))
def test_an_edit_can_set_any_content_of_a_message(
    conv_id: str, sender: str, text: str, mentions: list[str]
) -> None:
    """An edit is accepted or rejected exactly as a message with the same text and mentions."""
    said: dict[str, Any] = {"content": TextContent(text=text), "mentions": mentions}
    sent = entries_of(SendMessage(**common(conv_id, sender), **said), Limits())
    edited = entries_of(EditMessage(**common(conv_id, sender), **said, seq=SeqId(LATE)), Limits())
    if isinstance(sent, str):
        assert edited == sent
    else:
        assert [len(encode(entry)) <= MAX_ENTRY_BYTES for entry in edited] == [True]


def test_a_recall_of_a_message_with_the_most_edits_fits() -> None:
    """A recall with the maximum number of edits and the longest ids is within the limit."""
    found = entries_of(RecallMessage(**common(WIDE, WIDE), seq=SeqId(LATE)), Limits())
    assert [len(encode(entry)) <= MAX_ENTRY_BYTES for entry in found] == [True]


def test_a_text_of_exactly_the_limit_fits() -> None:
    """A text of exactly the limit fits with the longest ids of one byte per character."""
    name = "x" * MAX_ID_LENGTH
    content = TextContent(text="字" * 2_730 + "xx")
    found = entries_of(SendMessage(**common(name, name), content=content), Limits())
    assert [len(encode(entry)) <= MAX_ENTRY_BYTES for entry in found] == [True]


@given(
    ids,
    ids,
    st.lists(ids, min_size=1, max_size=300, unique=True),
    st.sampled_from([1, 7, 500, MOST_MEMBERS_PER_ENTRY]),
    st.sampled_from([CreateConversation, AddMembers, RemoveMembers]),
)
def test_no_list_of_members_makes_an_entry_above_the_bound(
    conv_id: str,
    sender: str,
    people: list[str],
    most: int,
    kind: type[CreateConversation | AddMembers | RemoveMembers],
) -> None:
    """A list is split by number and by bytes; each person is named once, in the given order."""
    limits = Limits(members_per_entry=most, push_limit=10_000)
    before = people if kind is RemoveMembers else []
    command = kind(**common(conv_id, sender), members=people)
    found = entries_of(command, limits, *before)
    if isinstance(found, str):
        assert (found, people) == ("already_a_member", [sender])
        return
    named = [getattr(entry, "members", []) for entry in found]
    assert all(len(encode(entry)) <= MAX_ENTRY_BYTES for entry in found)
    assert all(len(part) <= most for part in named)
    expected = [sender, *people] if kind is CreateConversation else people
    if kind is AddMembers:
        expected = [user for user in people if user != sender]
    assert [user for part in named for user in part] == list(dict.fromkeys(expected))


def test_a_long_list_is_not_split_more_than_necessary() -> None:
    """10,000 people with short ids make as few entries as ``members_per_entry`` allows."""
    people = [f"user-{number:05}" for number in range(10_000)]
    found = entries_of(
        AddMembers(**common("group", "ann"), members=people), Limits(push_limit=20_000)
    )
    assert len(found) == 20


def test_a_reply_is_shorter_than_an_entry() -> None:
    """A reply with the longest ids, each character escaped, is within the limit of an entry."""
    name = "\x00" * MAX_ID_LENGTH
    reply = {"conv_id": name, "sender": name, "device_id": name, "client_msg_id": name}
    rejected = Rejected(**reply, at=Milliseconds(MAX_NUMBER), code="unknown_conversation")
    duplicate = Duplicate(**reply, at=Milliseconds(MAX_NUMBER), seq=SeqId(MAX_NUMBER))
    assert max(len(encode(rejected)), len(encode(duplicate))) <= MAX_ENTRY_BYTES
