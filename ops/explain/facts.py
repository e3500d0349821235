"""The findings of `im explain`, and the sentences about read access. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from schemas.number_types import SeqId
from schemas.records import FanoutMode
from schemas.visibility import MembershipChange, Period, counts, periods, readable, visible

StepName: TypeAlias = Literal[
    "accepted",  # the command on im.messages
    "sequenced",  # the entry on im.timeline, or the rejection
    "recipient",  # push or pull, and whether the person is a recipient
    "synced",  # the record in the person's sync timeline on Kafka
    "referenced",  # the reference in the person's sync timeline in the store
    "stored",  # the row of the message in the store
    "indexed",  # the document of the search index
    "altered",  # recalls and edits
    "visible",  # the membership period that opens the entry
    "notified",  # push notifications
    "read",  # the read mark
    "device",  # the cursor of one device
]

StepResult: TypeAlias = Literal["yes", "no", "unknown"]

MODE_ENTRIES: Final = frozenset(
    {"conversation_created", "members_added", "members_removed", "fanout_changed"}
)
"""The kinds of entries that have the mode of the conversation."""


class Fact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a message on its way to a person.

    Attributes:
        step: The step.
        result: Whether the step happened for this message and person.
        text: One sentence; has no text of a message.
        data: Values for programs, such as offsets.
    """

    step: StepName
    result: StepResult
    text: str
    data: dict[str, Any] = {}


class Explanation(Struct, frozen=True, kw_only=True):
    """The answer of `im explain`. ``verdict``: the answer in one sentence."""

    user: str
    conv_id: str
    seq: int
    verdict: str
    facts: list[Fact]


def access_fact(changes: Sequence[MembershipChange], seq: SeqId) -> Fact:
    """Whether a person may read an entry, and by which membership period."""
    stays = periods((change.seq, change.joined) for change in changes)
    parts = readable(changes)
    data = {"periods": [list(stay) for stay in stays], "readable": [list(p) for p in parts]}
    if not stays:
        return Fact(step="visible", result="no", text="the person was never a member", data=data)
    if visible(parts, seq):
        return Fact(step="visible", result="yes", text=_why_visible(stays, seq), data=data)
    return Fact(step="visible", result="no", text=_why_hidden(stays, seq), data=data)


def _why_visible(stays: Sequence[Period], seq: SeqId) -> str:
    for stay in stays:
        if visible([stay], seq):
            return f"in the membership period {_span(stay)}"
    later = next(stay for stay in stays if stay.first > seq)
    return f"before the join by entry {later.first}; the history rule of the conversation is all"


def _why_hidden(stays: Sequence[Period], seq: SeqId) -> str:
    """A leave before the entry, or a join after it with the rule ``since_join``."""
    before = [stay for stay in stays if stay.last is not None and stay.last < seq]
    after = [stay for stay in stays if stay.first > seq]
    left = f"entry {before[-1].last} ended the membership" if before else ""
    joined = (
        f"entry {after[0].first} began {'the next' if before else 'the'} membership, and the"
        " history rule is since_join"
        if after
        else ""
    )
    return "; ".join(part for part in (left, joined) if part)


def _span(stay: Period) -> str:
    return f"{stay.first} to {'now' if stay.last is None else stay.last}"


def recipient_fact(
    user: str, mode: FanoutMode | None, *, is_member: bool, sender: str, named: Iterable[str]
) -> Fact:
    """Whether a person should have the entry in their sync timeline.

    Args:
        user: The person.
        mode: The mode with which the entry was fanned out; None if unknown.
        is_member: Whether the person was a member at the entry.
        sender: The sender of the entry.
        named: The people whom the entry mentions, adds or removes.
    """
    data = {"mode": mode}
    if mode is None:
        return Fact(step="recipient", result="unknown", text="the mode is not known", data=data)
    if not is_member:
        text = "the person was not a member at this entry"
        return Fact(step="recipient", result="no", text=text, data=data)
    if mode == "push":
        text = "push: the entry was fanned out to all members"
        return Fact(step="recipient", result="yes", text=text, data=data)
    if user == sender or user in set(named):
        text = (
            f"pull, and the person is {'the sender' if user == sender else 'named in the entry'}"
        )
        return Fact(step="recipient", result="yes", text=text, data=data)
    text = "pull: members read the entry from the store; only the sender and mentions get it"
    return Fact(step="recipient", result="no", text=text, data=data)


def edit_is_shown(changes: Sequence[MembershipChange], edit: SeqId) -> bool:
    """Whether a person who may read a message sees the text of its edit."""
    return counts(readable(changes), edit)


def verdict_of(user: str, facts: Sequence[Fact]) -> str:
    """The answer in one sentence, from the first step that decides."""
    failed: dict[StepName, Fact] = {}
    for fact in facts:
        if fact.result == "no":
            failed.setdefault(fact.step, fact)
    for step, words in _DECIDING.items():
        if step in failed:
            return f"{user} {words}: {failed[step].text}"
    recall = next((each for each in facts if "recalled_by" in each.data), None)
    if recall is not None:
        return f"{user} sees an empty place: the message was {recall.text}"
    if "recipient" in failed:
        reason = failed["recipient"].text
        return f"{user} may read it in history, but it is not in the sync timeline: {reason}"
    for step in ("synced", "referenced"):
        if step in failed:
            return (
                f"{user} may read it in history, but not in the sync timeline: {failed[step].text}"
            )
    return f"{user} got it in the sync timeline, and may read it in history"


_DECIDING: Final[dict[StepName, str]] = {
    "sequenced": "did not get it",
    "visible": "may not read it",
    "stored": "does not see it in history",
}
"""The steps without which nobody sees an entry, in their order of importance."""
