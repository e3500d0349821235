"""The sentences of `im explain` about access and recipients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stages.letters import Letter
from ops.explain.facts import Fact, access_fact, recipient_fact, verdict_of
from ops.explain.push_facts import (
    GivenUpLetter,
    NotifiedEntry,
    PushView,
    never_notified,
    notified_facts,
)
from schemas.dead_letters import LetterFate
from schemas.number_types import Milliseconds, Offset, SeqId, ShardNumber
from schemas.records import MUTED_WITHOUT_END, FanoutMode, HistoryRule
from schemas.replays import GivenUpNotification
from schemas.visibility import MembershipChange, readable, visible
from sinks.push.push_state import NOTHING, PushState, WaitingMessage


def changes(*seqs: int, history: HistoryRule = "since_join") -> list[MembershipChange]:
    """Joins and leaves in turn."""
    return [
        MembershipChange(SeqId(seq), joined=at % 2 == 0, history=history)
        for at, seq in enumerate(seqs)
    ]


@pytest.mark.parametrize(
    ("of", "seq", "result", "phrase"),
    [
        (changes(), 3, "no", "never a member"),
        (changes(1), 3, "yes", "1 to now"),
        (changes(1, 5), 3, "yes", "1 to 5"),
        (changes(1, 5), 6, "no", "entry 5 ended"),
        (changes(4), 3, "no", "entry 4 began the membership, and the history rule is since_join"),
        (changes(4, history="all"), 3, "yes", "before the join by entry 4"),
        (changes(1, 5, 9), 7, "no", "entry 5 ended the membership; entry 9 began the next"),
        (changes(1, 5, 9, history="all"), 7, "yes", "before the join by entry 9"),
    ],
)
def test_access_is_explained(
    of: list[MembershipChange], seq: int, result: str, phrase: str
) -> None:
    """The sentence names the entry that opened or closed the membership."""
    fact = access_fact(of, SeqId(seq))

    assert fact.result == result
    assert phrase in fact.text


@given(
    st.lists(st.integers(1, 20), unique=True, max_size=7).map(sorted),
    st.integers(1, 22),
    st.sampled_from(("all", "since_join")),
)
def test_the_explanation_agrees_with_the_rule(
    seqs: list[int], seq: int, history: HistoryRule
) -> None:
    """For any membership, the result is that of the one rule, and a reason is given."""
    of = changes(*seqs, history=history)
    fact = access_fact(of, SeqId(seq))

    assert (fact.result == "yes") == visible(readable(of), SeqId(seq))
    assert fact.text


@pytest.mark.parametrize(
    ("mode", "user", "is_member", "result", "phrase"),
    [
        ("push", "bob", True, "yes", "push"),
        ("push", "bob", False, "no", "not a member"),
        ("pull", "bob", True, "no", "from the store"),
        ("pull", "ann", True, "yes", "the sender"),
        ("pull", "cat", True, "yes", "named"),
        (None, "bob", True, "unknown", "not known"),
    ],
)
def test_recipients_are_explained(
    mode: FanoutMode | None,
    user: str,
    is_member: bool,  # noqa: FBT001 - a parameter of the table
    result: str,
    phrase: str,
) -> None:
    """In pull mode only the sender and the named people are recipients."""
    fact = recipient_fact(user, mode, is_member=is_member, sender="ann", named=["cat"])

    assert fact.result == result
    assert phrase in fact.text


def test_the_verdict_is_the_first_step_that_decides() -> None:
    """A missing right to read counts more than a missing row."""
    good = Fact(step="sequenced", result="yes", text="there")
    hidden = Fact(step="visible", result="no", text="entry 5 ended the membership")
    lost = Fact(step="stored", result="no", text="the row is missing")

    assert "may not read it: entry 5" in verdict_of("bob", [good, lost, hidden])
    assert "does not see it" in verdict_of("bob", [good, lost])
    assert "got it" in verdict_of("bob", [good])


def test_a_record_that_is_missing_or_expired_is_not_called_got() -> None:
    """A person who should have a record in the sync timeline may have none."""
    wanted = Fact(step="recipient", result="yes", text="push")
    lost = Fact(step="referenced", result="no", text="the reference has expired")

    assert "not in the sync timeline: the reference" in verdict_of("bob", [wanted, lost])


MESSAGE = NotifiedEntry(
    SeqId(7), Milliseconds(100), "message_sent", "ann", has_record=True, is_recalled=False,
    muted_until=Milliseconds(0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "phrase"),
    [
        (MESSAGE._replace(kind="members_added"), "only messages"),
        (MESSAGE._replace(sender="bob"), "own message"),
        (MESSAGE._replace(has_record=False), "no record of it"),
        (MESSAGE._replace(muted_until=Milliseconds(1_000)), "until 1970-01-01 00:00:01"),
        (MESSAGE._replace(muted_until=Milliseconds(MUTED_WITHOUT_END)), "muted the conversation"),
        (MESSAGE._replace(muted_until=Milliseconds(99)), ""),
        (MESSAGE, ""),
    ],
)
def test_why_nobody_is_notified_is_explained(entry: NotifiedEntry, phrase: str) -> None:
    """Each reason that does not depend on the push stage; no reason for a message."""
    found = never_notified("bob", entry)

    assert phrase in found
    assert bool(found) == bool(phrase)


def given_up(device: str, fate: LetterFate | None = None) -> GivenUpLetter:
    """A dead letter of a device."""
    letter = Letter(
        stage="sink-push", reason="notification: status 400", topic="t", partition=0,
        offset=Offset(1), size=0, at=Milliseconds(1), fate=fate,
    )  # fmt: skip
    ids = GivenUpNotification(
        device_id=device, conv_id="c1", seq=SeqId(7), sender="ann", messages=3,
        shard=ShardNumber(0), offset=Offset(1),
    )  # fmt: skip
    return GivenUpLetter(letter, ids)


WAITS = PushState(
    waiting=(WaitingMessage(SeqId(7), Milliseconds(1), "ann", 3),),
    notified={"phone": SeqId(7), "watch": SeqId(6)},
)


@pytest.mark.parametrize(
    ("view", "entry", "expected"),
    [
        (PushView(["phone", "watch"], WAITS, []), MESSAGE, [("no", "done for phone")]),
        (PushView([], NOTHING, []), MESSAGE, [("no", "no device of the person has a push")]),
        (PushView(["phone"], NOTHING, []), MESSAGE, [("unknown", "waits for phone: it was")]),
        (
            PushView(["phone", "watch"], NOTHING, [given_up("phone")]), MESSAGE,
            [("no", "phone: dead letter, notification: status 400 (open"), ("unknown", "watch")],
        ),
        (
            PushView(["phone"], NOTHING, [given_up("phone", "dropped")]), MESSAGE,
            [("no", "(dropped since then")],
        ),
        (
            PushView(["phone"], NOTHING, []), MESSAGE._replace(is_recalled=True),
            [("unknown", "recalled")],
        ),
    ],
    ids=["waits", "no address", "delivered", "dead letter", "dropped letter", "recalled"],
)  # fmt: skip
def test_notifications_are_explained(
    view: PushView, entry: NotifiedEntry, expected: list[tuple[str, str]]
) -> None:
    """Each device with a dead letter is named; then the fate of the other devices."""
    facts = notified_facts(view, entry)

    assert [fact.result for fact in facts] == [result for result, _ in expected]
    for fact, (_, phrase) in zip(facts, expected, strict=True):
        assert phrase in fact.text
