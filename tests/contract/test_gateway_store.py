"""The contract of the gateway's stores, in memory and on Cassandra."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest
from msgspec import Raw, structs

from backends.cassandra.memberships import user_bucket
from gateway.store.cassandra_queries import MAX_OF_ONE
from gateway.store.store_port import (
    SLICE,
    ConversationHead,
    Expiry,
    ReadMark,
    Store,
    StoredMember,
    StoredMute,
)
from schemas.codec import encode
from schemas.limits import MESSAGE_BUCKET, SYNC_BUCKET, USER_BUCKETS
from schemas.number_types import BucketNumber, Milliseconds, SeqId, SyncSeqId
from schemas.sync_rows import SyncRow, decode_row
from schemas.unread import Counted
from schemas.visibility import MembershipChange
from tests.support.gateway_rows import Rows, cassandra_store, tables
from tests.support.gateway_store import FakeStore, edit, message
from tests.support.servers import Servers


class Stored(NamedTuple):
    """A store, the interface that fills it, and a name that no other test uses."""

    store: Store
    rows: FakeStore | Rows
    own: str


@pytest.fixture(scope="module")
def deployment(servers: Servers) -> Iterator[Any]:
    """Settings and tables of this module alone."""
    settings = servers.settings()
    with tables(settings) as rows:
        yield settings, rows


@pytest.fixture(params=["fake", pytest.param("cassandra", marks=pytest.mark.servers)])
async def stored(request: pytest.FixtureRequest) -> AsyncIterator[Stored]:
    """Each test runs on both stores."""
    own = secrets.token_hex(4)
    if request.param == "fake":
        fake = FakeStore()
        yield Stored(fake, fake, own)
        return
    settings, rows = request.getfixturevalue("deployment")
    async with cassandra_store(settings) as store:
        yield Stored(store, rows, own)


async def test_the_store_returns_nothing_for_unknown_ids(stored: Stored) -> None:
    """A query without a result is empty, and not an error."""
    store, _, own = stored
    assert await store.conversation(own) is None
    assert await store.changes(own, own) == []
    assert await store.all_changes(own) == {}
    assert await store.conversation_ids(own, "", 10) == []
    assert await store.entries(own, SeqId(1), SeqId(SLICE)) == []
    assert await store.sync_buckets(own, BucketNumber(0), 10) == []
    assert await store.sync_rows(own, BucketNumber(0), SyncSeqId(-1), SLICE) == []
    assert await store.sync_buckets_back(own, BucketNumber(10), 10) == []
    assert await store.sync_rows_back(own, BucketNumber(0), SyncSeqId(10), SLICE) == []
    assert await store.expiries(own, 10) == []
    assert await store.reachable()


async def test_the_head_of_a_conversation_is_its_latest_state(stored: Stored) -> None:
    """The latest write of a conversation is read."""
    store, rows, own = stored
    rows.put_conversation(own, 3)
    rows.put_conversation(own, 7, "pull")
    assert await store.conversation(own) == ConversationHead(SeqId(7), "pull")


@pytest.mark.parametrize(
    "hostile", ["' OR '1'='1", "'; DROP TABLE message; --", '" ALLOW FILTERING', "%s ? :x {}"]
)
async def test_an_id_is_only_a_value_in_statements(stored: Stored, hostile: str) -> None:
    """Ids with the syntax of a query are found exactly, and no other row is."""
    store, rows, own = stored
    rows.put_conversation(own, 3)
    assert await store.conversation(own + hostile) is None
    rows.put_conversation(own + hostile, 5)
    rows.put_change(own + hostile, own + hostile, 1, joined=True)
    assert await store.conversation(own + hostile) == ConversationHead(SeqId(5), "push")
    assert [change.seq for change in await store.changes(own + hostile, own + hostile)] == [1]
    assert await store.changes(own, own) == []
    assert await store.conversation(own) == ConversationHead(SeqId(3), "push")


async def test_membership_changes_are_ordered_by_seq_and_belong_to_one_conversation(
    stored: Stored,
) -> None:
    """Changes are in the order of their SeqIds, without repetitions."""
    store, rows, own = stored
    for seq, joined in [(9, False), (1, True), (4, False), (4, False), (7, True)]:
        rows.put_change(own, "c", seq, joined=joined)
    rows.put_change(own, "d", 2, joined=True)
    rows.put_change(own + "x", "c", 3, joined=True)
    expected = [
        MembershipChange(SeqId(seq), joined)
        for seq, joined in [(1, True), (4, False), (7, True), (9, False)]
    ]
    assert await store.changes(own, "c") == expected
    assert await store.all_changes(own) == {
        "c": expected,
        "d": [MembershipChange(SeqId(2), joined=True)],
    }


async def test_a_join_has_its_history_rule(stored: Stored) -> None:
    """A join has its history rule in both kinds of read; the default is ``since_join``."""
    store, rows, own = stored
    rows.put_change(own, "c", 3, joined=True, history="all")
    rows.put_change(own, "c", 5, joined=False)
    rows.put_change(own, "d", 2, joined=True)
    opening = [
        MembershipChange(SeqId(3), joined=True, history="all"),
        MembershipChange(SeqId(5), joined=False),
    ]
    assert await store.changes(own, "c") == opening
    everywhere = {
        "c": opening,
        "d": [MembershipChange(SeqId(2), joined=True, history="since_join")],
    }
    assert await store.all_changes(own) == everywhere


async def test_a_read_mark_is_the_highest_of_each_kind(stored: Stored) -> None:
    """In any order of writes, the own last message and the mark are each the highest."""
    store, rows, own = stored
    assert await store.read_mark(own, "ann") == ReadMark()
    for seq in (4, 9, 7):
        rows.put_own(own, "ann", seq, seq - 2)
    rows.put_marked(own, "bob", 3)
    assert await store.read_mark(own, "ann") == ReadMark(Counted(SeqId(9), 7))
    assert await store.read_mark(own, "bob") == ReadMark(marked=SeqId(3))
    for seq in (8, 12, 2):
        rows.put_marked(own, "ann", seq)
    assert await store.read_mark(own, "ann") == ReadMark(Counted(SeqId(9), 7), SeqId(12))
    assert await store.read_mark(own + "x", "ann") == ReadMark()


async def test_the_mute_with_the_highest_sync_seqid_counts(stored: Stored) -> None:
    """In any order of writes the last mute is read. The rest of the row does not change."""
    store, rows, own = stored
    rows.put_muted(own, "ann", 0, 70)
    assert (await store.read_mark(own, "ann")).mute == StoredMute(Milliseconds(70), SyncSeqId(0))
    for sync_seq, until in ((5, 500), (3 << 48, 0), (6, 900)):
        rows.put_muted(own, "ann", sync_seq, until)
    rows.put_marked(own, "ann", 3)
    last = StoredMute(Milliseconds(0), SyncSeqId(3 << 48))
    assert await store.read_mark(own, "ann") == ReadMark(marked=SeqId(3), mute=last)


async def test_an_entry_keeps_its_count_when_it_is_recalled(stored: Stored) -> None:
    """A recalled entry has no text, and its count remains; the default count is 0."""
    store, rows, own = stored
    rows.put_message(structs.replace(message(own, 5), messages=4))
    rows.put_message(message(own, 6))
    rows.put_recall(own, 7, 5)
    assert await store.messages_up_to(own, SeqId(5)) == 4
    assert await store.messages_up_to(own, SeqId(6)) == 0


async def test_counts_come_with_heads_and_changes(stored: Stored) -> None:
    """Heads and changes have the number of messages up to them, if it was written."""
    store, rows, own = stored
    rows.put_conversation(own, 7, messages=4)
    rows.put_change(own, own, 2, joined=True, messages=1)
    rows.put_change(own, own, 5, joined=False)
    assert await store.conversation(own) == ConversationHead(SeqId(7), "push", 4)
    changes = [
        MembershipChange(SeqId(2), joined=True, messages=1),
        MembershipChange(SeqId(5), joined=False),
    ]
    assert await store.changes(own, own) == changes
    assert await store.all_changes(own) == {own: changes}


async def test_a_conversation_has_its_whole_state(stored: Stored) -> None:
    """Time, owner, number of members, name and metadata are read as they were written."""
    store, rows, own = stored
    about = ConversationHead(SeqId(7), "push", 4, 1_700, "ann", 3, "团队", '{"color": "red"}')
    rows.put_described(own, about)
    assert await store.conversation(own) == about


async def test_the_activity_of_each_conversation(stored: Stored) -> None:
    """A member has the time of the head, a former member that of the leave; 0 if unknown."""
    store, rows, own = stored
    for number in range(150):
        rows.put_described(
            f"{own} {number}", ConversationHead(SeqId(9), "push", at=1_000 + number)
        )
        rows.put_change(own, f"{own} {number}", 1, joined=True, at=5)
    rows.put_change(own, f"{own} 3", 8, joined=False, at=700)
    rows.put_conversation(f"{own} 4", 10)
    rows.put_change(own, f"{own} new", 1, joined=True, at=900)
    found = await store.activities(own, 200)
    assert found is not None
    expected = {f"{own} {number}": 1_000 + number for number in range(150)}
    unwritten = {f"{own} 4": found[f"{own} 4"], f"{own} new": found[f"{own} new"]}
    assert found == expected | {f"{own} 3": 700} | unwritten
    assert await store.activities(own, 151) is None
    assert await store.activities(own + "x", 0) == {}


async def test_members_are_paged_by_id(stored: Stored) -> None:
    """Each person is read once, with the last change, in the order of the ids."""
    store, rows, own = stored
    people = [StoredMember(f"user {n:03} 陈", n + 1, n % 3 > 0, 1_000 + n) for n in range(100)]
    for person in people:
        rows.put_member(own, person)
        rows.put_member(own + "x", person._replace(seq=7))
    found: list[StoredMember] = []
    while page := await store.members(own, found[-1].user if found else "", 7):
        assert len(page) <= 7
        found += page
    assert found == people
    assert await store.members(own + "y", "", 7) == []


async def test_conversation_ids_are_cut_by_conversation(stored: Stored) -> None:
    """A page has this number of conversations, whatever the number of changes in each."""
    store, rows, own = stored
    for conv_id in ("a", "b c", "#x", "陈"):
        for seq in range(1, 8):
            rows.put_change(own, conv_id, seq, joined=seq % 2 == 1)
    found: list[str] = []
    after = ""
    while page := await store.conversation_ids(own, after, 3):
        assert len(page) <= 3
        found += page
        after = page[-1]
    assert found == sorted(["a", "b c", "#x", "陈"])


async def test_all_conversations_of_a_person_are_returned(stored: Stored) -> None:
    """All conversations are found in the order of their ids, in all buckets and with any limit.

    The changes of each are those of this person alone.
    """
    store, rows, own = stored
    conv_ids = sorted(f"{own} {number}" for number in range(300))
    assert len({user_bucket(conv_id) for conv_id in conv_ids}) == USER_BUCKETS
    for seq, conv_id in enumerate(conv_ids, start=1):
        rows.put_change(own, conv_id, seq, joined=True)
        rows.put_change(own + "x", conv_id, 99, joined=True)
    rows.put_change(own + "x", own + " 7 x", 99, joined=True)
    expected = {
        conv_id: [MembershipChange(SeqId(seq), joined=True)]
        for seq, conv_id in enumerate(conv_ids, 1)
    }
    assert await store.all_changes(own) == expected
    for conv_id in conv_ids:
        assert await store.changes(own, conv_id) == expected[conv_id]
    for limit in (1, 7, 60, 100):
        found: list[str] = []
        while page := await store.conversation_ids(own, found[-1] if found else "", limit):
            assert len(page) == min(limit, len(conv_ids) - len(found))
            found += page
        assert found == conv_ids


async def test_a_range_across_buckets_returns_all_entries(stored: Stored) -> None:
    """A range is read completely across partitions, with the stored bytes."""
    store, rows, own = stored
    around = range(MESSAGE_BUCKET - 5, MESSAGE_BUCKET + 5)
    there = [SeqId(seq) for seq in around if seq != MESSAGE_BUCKET]
    for seq in there:
        rows.put_message(message(own, seq, text='你好 "quoted" \U0001f600'))
    found = await store.entries(own, SeqId(MESSAGE_BUCKET - 4), SeqId(MESSAGE_BUCKET + 3))
    assert [entry.seq for entry in found] == there[1:-1]
    assert all(entry.kind == "message_sent" for entry in found)
    first = message(own, MESSAGE_BUCKET - 4, text='你好 "quoted" \U0001f600')
    assert found[0].json == encode(first)
    assert await store.entries(own, SeqId(MESSAGE_BUCKET), SeqId(MESSAGE_BUCKET)) == []
    chosen = await store.chosen_entries(
        own, [there[-1], SeqId(MESSAGE_BUCKET), SeqId(1), there[0]]
    )
    assert sorted(entry.seq for entry in chosen) == [there[0], there[-1]]
    assert await store.chosen_entries(own + "x", there) == []


async def test_chosen_entries_of_many_conversations_are_returned_together(stored: Stored) -> None:
    """Many conversations are read together, one over two buckets, and some without entries."""
    store, rows, own = stored
    conv_ids = [f"{own} {number}" for number in range(2 * MAX_OF_ONE + 3)]
    for conv_id in conv_ids[::2]:
        rows.put_message(message(conv_id, 3))
    rows.put_message(message(conv_ids[0], MESSAGE_BUCKET))
    chosen = {conv_id: [SeqId(3), SeqId(4), SeqId(MESSAGE_BUCKET)] for conv_id in conv_ids}
    found = await store.entries_of(chosen)
    assert list(found) == conv_ids
    seqs = {conv_id: sorted(entry.seq for entry in of_one) for conv_id, of_one in found.items()}
    expected = {conv_id: [3] if number % 2 == 0 else [] for number, conv_id in enumerate(conv_ids)}
    assert seqs == expected | {conv_ids[0]: [3, MESSAGE_BUCKET]}
    assert found[conv_ids[2]][0].json == encode(message(conv_ids[2], 3))


async def test_a_full_slice_has_the_maximum_number_of_entries(stored: Stored) -> None:
    """A read returns up to the maximum number of entries."""
    store, rows, own = stored
    for seq in range(1, SLICE + 2):
        rows.put_message(message(own, seq))
    found = await store.entries(own, SeqId(1), SeqId(SLICE))
    assert [entry.seq for entry in found] == list(range(1, SLICE + 1))


async def test_sync_buckets_are_listed_from_a_given_bucket(stored: Stored) -> None:
    """Buckets are in order, from the requested one on."""
    store, rows, own = stored
    for bucket in (9, 2, 5, 1 << 40):
        rows.put_record(own, bucket * SYNC_BUCKET + 3, b"1")
    assert await store.sync_buckets(own, BucketNumber(0), 10) == [2, 5, 9, 1 << 40]
    assert await store.sync_buckets(own, BucketNumber(5), 2) == [5, 9]
    assert await store.sync_buckets(own, BucketNumber((1 << 40) + 1), 2) == []
    assert await store.sync_buckets_back(own, BucketNumber(1 << 40), 10) == [1 << 40, 9, 5, 2]
    assert await store.sync_buckets_back(own, BucketNumber(8), 1) == [5]
    assert await store.sync_buckets_back(own, BucketNumber(1), 2) == []


async def test_sync_rows_are_read_above_and_below_a_position(stored: Stored) -> None:
    """Rows of one bucket and recipient are read in both directions, up to a limit, as written."""
    store, rows, own = stored
    row = SyncRow(
        entries={"你好": [4, 1, 5, 2]}, replies={SyncSeqId(3): Raw(b'{"kind":"\\u00e4"}')}
    )
    rows.put_row(own, row)
    for at in (0, 1, 7, SYNC_BUCKET):
        rows.put_reference(own, at, "c", at + 1)
    rows.put_reference(own + "x", 2, "c", 1)
    found = await store.sync_rows(own, BucketNumber(0), SyncSeqId(1), 1)
    assert [each.sync_seq for each in found] == [5]
    assert decode_row(found[0].json) == row
    assert await store.sync_rows_back(own, BucketNumber(0), SyncSeqId(7), 1) == found
    read, back = store.sync_rows, store.sync_rows_back
    assert [each.sync_seq for each in await read(own, BucketNumber(0), SyncSeqId(-1), SLICE)] == [
        0,
        1,
        5,
        7,
    ]
    assert [each.sync_seq for each in await read(own, BucketNumber(1), SyncSeqId(1), SLICE)] == [
        SYNC_BUCKET
    ]
    assert [
        each.sync_seq for each in await back(own, BucketNumber(0), SyncSeqId(SYNC_BUCKET), SLICE)
    ] == [7, 5, 1, 0]
    assert await back(own, BucketNumber(0), SyncSeqId(0), SLICE) == []


async def test_expiries_are_ordered_from_the_latest(stored: Stored) -> None:
    """The latest intervals of a recipient, each with its highest record in any write order."""
    store, rows, own = stored
    for since, newest in [(200, 7), (100, 5), (300, 9), (200, 8), (200, 6), (100, 0)]:
        rows.put_expiry(own, since, since + 50, newest)
    rows.put_expiry(own + "x", 400, 450, 11)
    latest = [
        Expiry(300, 350, SyncSeqId(9)),
        Expiry(200, 250, SyncSeqId(8)),
        Expiry(100, 150, SyncSeqId(5)),
    ]
    assert await store.expiries(own, 10) == latest
    assert await store.expiries(own, 2) == latest[:2]


@pytest.mark.servers
async def test_many_membership_changes_are_read_in_parts(
    deployment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any number of changes, each change is read once."""
    monkeypatch.setattr("gateway.store.cassandra_store._CHANGES", 3)
    settings, rows = deployment
    own = secrets.token_hex(4)
    expected = {
        conv_id: [
            MembershipChange(SeqId(seq), seq % 2 == 1, "all" if seq % 2 else "since_join")
            for seq in range(1, count + 1)
        ]
        for conv_id, count in [("a", 3), ("b", 7), ("c", 1), ("d", 6)]
    }
    for conv_id, happened in expected.items():
        for seq, joined, rule, *_ in happened:
            rows.put_change(own, conv_id, seq, joined=joined, history=rule)
    async with cassandra_store(settings) as store:
        assert await store.all_changes(own) == expected
        for conv_id, happened in expected.items():
            assert await store.changes(own, conv_id) == happened


async def test_an_edited_message_has_the_seq_of_its_last_edit(stored: Stored) -> None:
    """A message has the SeqId of its last edit, in both kinds of read; the text is in the edit."""
    store, rows, own = stored
    rows.put_message(message(own, 5))
    rows.put_edit(edit(own, 7, 5, "other words"))
    rows.put_edit(edit(own, 9, 5, "the last words"))
    for found in (
        await store.entries(own, SeqId(5), SeqId(9)),
        await store.chosen_entries(own, [SeqId(5), SeqId(7), SeqId(9)]),
    ):
        by_seq = {entry.seq: entry for entry in found}
        assert [by_seq[SeqId(seq)].edited_by for seq in (5, 7, 9)] == [9, None, None]
        assert b"hello" in by_seq[SeqId(5)].json
        assert b"the last words" in by_seq[SeqId(9)].json


async def test_a_recalled_message_leaves_only_its_seq(stored: Stored) -> None:
    """A recalled message and its edits have no text, also if the recall was written first."""
    store, rows, own = stored
    rows.put_message(message(own, 5))
    rows.put_edit(edit(own, 7, 5, "other words"))
    rows.put_recall(own, 8, 5, 7, 6)
    found = {entry.seq: entry for entry in await store.entries(own, SeqId(5), SeqId(7))}
    assert [found[SeqId(seq)].is_recalled for seq in (5, 6, 7)] == [True] * 3
    assert [found[SeqId(seq)].json for seq in (5, 6, 7)] == [b""] * 3
