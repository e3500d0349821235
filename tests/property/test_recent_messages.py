"""The latest messages of a conversation, compared with a dictionary of all messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from schemas.limits import RECENT_PAGE, RECENT_PAGES
from schemas.number_types import NO_SEQ, Milliseconds, SeqId
from stream_processors.core.recent import (
    ClosedPage,
    RecentMessages,
    RememberedMessage,
    UnalteredMessage,
)

senders = st.sampled_from(["ann", "bob", "陈"])
steps = st.lists(
    st.tuples(
        st.integers(1, 40),  # SeqIds until the next message, for other entries
        senders,
        st.integers(-5, 100_000),  # the broker's clock may go back
        st.booleans(),  # pulled
        st.lists(senders, max_size=2).map(tuple),
    ),
    max_size=120,
)
Drawn: TypeAlias = tuple[int, str, int, bool, tuple[str, ...]]
alterations = st.lists(st.tuples(st.integers(0, 2_000), st.booleans()), max_size=30)

KEPT_AT_LEAST = RECENT_PAGE * (RECENT_PAGES - 1)


def talk(
    recent: RecentMessages, remembered: Mapping[SeqId, RememberedMessage | UnalteredMessage]
) -> list[ClosedPage]:
    """Add messages; return the pages for the log."""
    closed = [recent.add(seq, each) for seq, each in remembered.items()]
    return [page for page in closed if page is not None]


def messages(drawn: list[Drawn]) -> dict[SeqId, RememberedMessage | UnalteredMessage]:
    """The messages of drawn steps, by SeqId."""
    found: dict[SeqId, RememberedMessage | UnalteredMessage] = {}
    seq, at = NO_SEQ, Milliseconds(1_000)
    for gap, sender, later, pulled, recipients in drawn:
        seq, at = SeqId(seq + gap), Milliseconds(at + later)
        found[seq] = RememberedMessage(sender, at, (seq,), recipients) if pulled else (sender, at)
    return found


@given(steps, alterations)
def test_recent_messages_have_their_latest_alterations(
    drawn: list[Drawn],
    alter: list[tuple[int, bool]],
) -> None:
    """All of the last thousand SeqIds are found, and others are reported as not remembered.

    The same holds for a copy restored from the log.
    """
    recent, copy = RecentMessages(), RecentMessages()
    remembered = messages(drawn)
    pages = talk(recent, remembered)
    known = {
        seq: RememberedMessage(*each) if isinstance(each, tuple) else each
        for seq, each in remembered.items()
    }
    last = max(known, default=NO_SEQ)
    for seq, recalled in alter:
        found = recent.find(SeqId(seq)) if recent.remembers(SeqId(seq)) else None
        if found is not None:
            edits = (*found.edits, last)
            known[SeqId(seq)] = structs.replace(found, edits=edits, recalled=recalled)
            changed = recent.replace(SeqId(seq), known[SeqId(seq)])
            pages += [] if changed is None else [changed]
    for page in pages:
        copy.restore_page(page)
    copy.restore_open(recent.page, recent.open)
    for each in (recent, copy):
        for seq in range(last + 2):
            if each.remembers(SeqId(seq)):
                assert each.find(SeqId(seq)) == known.get(SeqId(seq))
            else:
                assert seq // RECENT_PAGE != last // RECENT_PAGE
                assert seq not in known or seq <= last - KEPT_AT_LEAST


def test_a_thousand_messages_are_remembered_in_few_bytes() -> None:
    """Of 5,000 messages the last 1,000 are remembered, in 16 KB."""
    recent = RecentMessages()
    talk(
        recent,
        {SeqId(seq): (f"user-{seq % 7}", Milliseconds(seq * 61_000)) for seq in range(1, 5_001)},
    )
    assert all(
        recent.remembers(SeqId(seq)) and recent.find(SeqId(seq)) for seq in range(4_000, 5_001)
    )
    assert not recent.remembers(SeqId(3_900))
    assert sum(map(len, recent.closed.values())) < 16_000
