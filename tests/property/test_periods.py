"""Membership periods are merged and limited, and the cost of one command has a bound."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from audit.numbered import NumberedPeriods
from gateway.store.stored_rows import changes_of
from schemas.codec import encode
from schemas.limits import MAX_EDITS, MAX_ENTRY_BYTES, MAX_PERIODS, Limits
from schemas.number_types import SeqId
from schemas.records import (
    AddMembers,
    AnyCommand,
    AnyEntry,
    ConversationCreated,
    CreateConversation,
    EditMessage,
    HistoryRule,
    MembersAdded,
    MembersRemoved,
    RecallMessage,
    Rejected,
    RemoveMembers,
    Retracted,
    SendMessage,
    TextContent,
)
from schemas.visibility import Period, readable
from sinks.cassandra.messages import row_by_user
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress
from tests.support.commands import commands, fields_of, opening, talk
from tests.support.sequencing import SMALL_LIMITS, Commit, Crash, Log, run, source

FEW: Final = structs.replace(SMALL_LIMITS, max_periods=3, max_notices=2)
PEOPLE: Final = ["bob", "cid"]
Row = tuple[Any, ...]


def say(number: int) -> SendMessage:
    """A message by ann."""
    return SendMessage(**fields_of(number), content=TextContent(text="hi"))


def create(history: HistoryRule = "since_join") -> CreateConversation:
    """Ann creates the conversation, alone."""
    return CreateConversation(**fields_of(0), members=[], history=history)


@st.composite
def _turns(draw: st.DrawFn) -> list[AnyCommand | type[Crash | Commit]]:
    """Draw commands by which ann adds and removes people, with messages and crashes."""
    steps: list[AnyCommand | type[Crash | Commit]] = [
        create(draw(st.sampled_from(["since_join", "all"])))
    ]
    for number in range(1, draw(st.integers(1, 50))):
        people = draw(st.lists(st.sampled_from(PEOPLE), min_size=1, unique=True))
        match draw(st.integers(0, 9)):
            case 0 | 1 | 2:
                steps.append(AddMembers(**fields_of(number), members=people))
            case 3 | 4 | 5:
                steps.append(RemoveMembers(**fields_of(number), members=people))
            case 6 | 7 | 8:
                steps.append(say(number))
            case _:
                steps.append(Crash if draw(st.booleans()) else Commit)
    return steps


def rows_of(timeline: list[AnyEntry], user: str, order: st.DataObject | None = None) -> list[Row]:
    """Return the rows by user that the sink leaves, with the entries written in any order."""
    entries = [
        entry for entry in timeline
        if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved)
        and user in entry.members
    ]  # fmt: skip
    if order is not None:
        entries = order.draw(st.permutations([*entries, *entries[:2]]))
    rows: dict[int, dict[str, Any]] = {}
    for entry in entries:
        row: dict[str, Any] = dict(row_by_user(entry, user))
        if row["seq"] >= rows.get(row["place"], row)["seq"]:
            rows[row["place"]] = row
    columns = ("seq", "since", "joined", "history_rule", "messages", "at")
    return [(place, *map(row.get, columns)) for place, row in rows.items()]


def plain_periods(timeline: list[AnyEntry], user: str, most: int) -> list[Period]:
    """Compute the merged periods by a direct walk, without the shortest ones above the limit."""
    found: list[Period] = []
    for entry in timeline:
        if user not in getattr(entry, "members", ()):
            continue
        if isinstance(entry, MembersRemoved):
            found[-1] = Period(found[-1].first, entry.seq)
        elif found and found[-1].last == entry.seq - 1:
            found[-1] = Period(found[-1].first)
        else:
            if len(found) == most:
                found.remove(min(found, key=lambda p: ((p.last or 0) - p.first, p.first)))
            found.append(Period(entry.seq))
    return found


@settings(max_examples=200)
@given(_turns(), st.sampled_from([0.0, 0.5, 1.0]), st.data())
def test_the_store_has_exactly_the_periods_that_count(
    steps: list[AnyCommand | type[Crash | Commit]], compact_share: float, data: st.DataObject
) -> None:
    """After any crashes and order of writes, the rows give the periods of a direct walk."""
    log = run(steps, FEW, compact_share=compact_share)
    timeline = log.timeline_of("c1")
    created = timeline[0]
    assert isinstance(created, ConversationCreated)
    for user in PEOPLE:
        rows = rows_of(timeline, user, data)
        assert len(rows) <= 2 * FEW.max_periods
        due = plain_periods(timeline, user, FEW.max_periods)
        if created.history == "all" and due:
            due = [Period(SeqId(1), due[-1].last)]
        assert readable(changes_of(rows)) == due
    codes = {record.code for _, record in synced(log) if isinstance(record, Rejected)}
    assert codes <= {"already_a_member", "not_a_member"}
    calm = run([step for step in steps if not isinstance(step, type)], FEW)
    assert (log.entries, log.syncs) == (calm.entries, calm.syncs)


def synced(log: Log) -> list[tuple[str, Any]]:
    """Return all sync records with their recipients."""
    users = {key for key, _ in log.syncs}
    return [(user, record) for user in users for record in log.sync_of(user)]


def test_adjacent_joins_and_leaves_are_one_period() -> None:
    """8,100 joins and leaves in a row are two rows and one period."""
    steps: list[AnyCommand] = [create()]
    for number in range(8_100):
        kind = RemoveMembers if number % 2 else AddMembers
        steps.append(kind(**fields_of(number + 1), members=["bob"]))
    timeline = run(steps, Limits()).timeline_of("c1")
    rows = rows_of(timeline, "bob")
    assert len(rows) == 2
    assert readable(changes_of(rows)) == [Period(SeqId(2), SeqId(8_101))]


def test_short_periods_do_not_end_the_right_to_a_long_one() -> None:
    """A period of ten messages is retained among 250 later periods of one message."""
    steps: list[AnyCommand] = [create(), AddMembers(**fields_of(1), members=["bob"])]
    steps += [say(number) for number in range(2, 12)]
    steps.append(RemoveMembers(**fields_of(12), members=["bob"]))
    for number in range(13, 13 + 250 * 4, 4):
        steps += [
            say(number),
            AddMembers(**fields_of(number + 1), members=["bob"]),
            say(number + 2),
            RemoveMembers(**fields_of(number + 3), members=["bob"]),
        ]
    timeline = run(steps, Limits()).timeline_of("c1")
    found = readable(changes_of(rows_of(timeline, "bob")))
    assert len(found) == MAX_PERIODS
    assert found[0] == Period(SeqId(2), SeqId(13))
    changes = [
        (e.seq, isinstance(e, MembersAdded))
        for e in timeline
        if "bob" in getattr(e, "members", ())
    ]
    assert {row[1] for row in rows_of(timeline, "bob")} == NumberedPeriods(changes).stored()
    assert all(len(encode(entry)) <= MAX_ENTRY_BYTES for entry in timeline)


def most_records(limits: Limits, named: int, members: int) -> int:
    """The documented bound of one command's records, with those of the state.

    Args:
        limits: The limits of the deployment.
        named: The number of people that the command names.
        members: The highest number of members before or after the command.
    """
    pushed = min(members, limits.push_limit + limits.members_per_entry)
    entries = 2 * max(1, named) + 2
    text = (1 + MAX_EDITS) * pushed + 3 * limits.max_mentions + 1
    return entries * (pushed + 1) + named * 6 + text + limits.max_notices + 8


@settings(max_examples=200)
@given(st.lists(st.one_of(talk, talk, commands), max_size=60))
def test_the_records_of_one_command_have_a_bound(steps: list[AnyCommand]) -> None:
    """All records of any command in any state together are within the bound."""
    sequencer = Sequencer(FEW, Conversations(), LaneProgress())
    people: set[str] = set()
    for at, command in enumerate([*opening(), *steps]):
        named = len(set(getattr(command, "members", ()))) + 1
        people |= {command.sender, *getattr(command, "members", ())}
        written = sequencer.process(source(at, command), Log())
        assert written <= most_records(FEW, named, len(people))


def test_a_recall_in_a_group_with_many_former_members_is_cheap() -> None:
    """After 2,000 removals, a recall sends at most 500 notices, to the last removed people."""
    people = [f"u{number}" for number in range(2_000)]
    steps: list[AnyCommand] = [
        create("all"),
        AddMembers(**fields_of(1), members=people),
        say(2),
        RemoveMembers(**fields_of(3), members=people),
    ]
    seq = len(run(steps[:3], Limits()).timeline_of("c1"))
    log = run([*steps, RecallMessage(**fields_of(4), seq=SeqId(seq))], Limits())
    notified = {user for user, record in synced(log) if isinstance(record, Retracted)}
    assert notified == set(people[-Limits().max_notices :])


def test_every_recipient_of_a_text_is_notified_of_its_recall_after_any_number_of_leaves() -> None:
    """Everybody who received a text gets the notice of its recall, after any later leaves."""
    steps: list[AnyCommand] = [
        CreateConversation(**fields_of(0), members=["x", "y", "z"]),
        say(1),
        EditMessage(**fields_of(2), seq=SeqId(3), content=TextContent(text="ho")),
        RemoveMembers(**fields_of(3), members=["x", "y", "z"]),
    ]
    for number in range(4, 14):
        user = [f"v{number}"]
        steps += [
            AddMembers(**{**fields_of(number), "device_id": "a"}, members=user),
            RemoveMembers(**{**fields_of(number), "device_id": "b"}, members=user),
        ]
    log = run([*steps, RecallMessage(**fields_of(20), seq=SeqId(3))], FEW)
    notified = {user for user, record in synced(log) if isinstance(record, Retracted)}
    assert notified == {"x", "y", "z"}
