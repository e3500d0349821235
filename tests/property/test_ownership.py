"""Owner and right to join, compared with a direct walk over the entries."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import RejectionCode
from schemas.ids import uuid7
from schemas.records import (
    AddMembers,
    AnyCommand,
    AnyEntry,
    ConversationCreated,
    CreateConversation,
    JoinRule,
    MembersAdded,
    MembersRemoved,
    OwnershipTransferred,
    RemoveMembers,
    TransferOwnership,
)
from tests.support.commands import fields_of
from tests.support.sequencing import Commit, Crash, run

PEOPLE: Final = ["ann", "bob", "cid", "陈", "d e"]
_people = st.sampled_from(PEOPLE)


@st.composite
def _walks(draw: st.DrawFn) -> list[AnyCommand | type[Crash | Commit]]:
    """Draw a conversation that people join, leave and transfer, with crashes."""
    join: JoinRule = draw(st.sampled_from(["invite", "open"]))
    first = draw(st.lists(_people, max_size=3))
    common: dict[str, Any] = {"conv_id": "c1", "device_id": "d"}
    steps: list[AnyCommand | type[Crash | Commit]] = [
        CreateConversation(
            **common, sender="ann", client_msg_id=uuid7(0, 0), members=first, join=join
        )
    ]
    for number in range(1, draw(st.integers(1, 40))):
        sender = draw(_people)
        named = draw(st.one_of(st.just([sender]), st.lists(_people, min_size=1, max_size=3)))
        one = {**common, "sender": sender, "client_msg_id": uuid7(number, 0)}
        choice = draw(st.integers(0, 7))
        if choice < 3:
            steps.append(RemoveMembers(**one, members=named))
        elif choice < 5:
            steps.append(AddMembers(**one, members=named))
        elif choice == 5:
            steps.append(TransferOwnership(**one, to=draw(_people)))
        else:
            steps.append(Crash if draw(st.booleans()) else Commit)
    return steps


class Walk:
    """Owner and members by a direct reading of the timeline."""

    def __init__(self) -> None:
        self.owner = ""
        self.since: dict[str, int] = {}
        self.left: dict[str, tuple[int, int]] = {}

    def take(self, entry: AnyEntry) -> None:
        """Read the next entry, and check the right of its sender."""
        match entry:
            case ConversationCreated():
                self.owner = entry.sender
                self.since = dict.fromkeys(entry.members, entry.seq)
            case MembersAdded():
                assert self._may_add(entry)
                for user in entry.members:
                    first, last = self.left.get(user, (entry.seq, 0))
                    self.since[user] = first if last == entry.seq - 1 else entry.seq
            case MembersRemoved():
                for user in entry.members:
                    self.left[user] = (self.since.pop(user), entry.seq)
            case OwnershipTransferred():
                if self.owner in self.since:
                    assert entry.sender == self.owner
                else:
                    assert entry.owner == self.successor()
                self.owner = entry.owner
            case _:
                return

    def successor(self) -> str:
        """The member with the longest membership; of several, the lowest id."""
        return min((since, user) for user, since in self.since.items())[1]

    def _may_add(self, entry: MembersAdded) -> bool:
        return entry.sender in self.since or entry.members == [entry.sender]


@settings(max_examples=300)
@given(_walks(), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([1, 1_000]))
def test_a_conversation_with_members_has_an_owner_among_them(
    steps: list[AnyCommand | type[Crash | Commit]], compact_share: float, busy_limit: int
) -> None:
    """After each command the owner is a member, if there are members.

    Succession follows the rule and is in the log, and crashes change nothing.
    """
    log = run(steps, busy_limit=busy_limit, compact_share=compact_share)
    timeline = log.timeline_of("c1")
    walk = Walk()
    for at, entry in enumerate(timeline):
        walk.take(entry)
        following = timeline[at + 1] if at + 1 < len(timeline) else None
        if following is None or following.client_msg_id != entry.client_msg_id:
            assert not walk.since or walk.owner in walk.since
    calm = run([step for step in steps if not isinstance(step, type)])
    assert (log.entries, log.syncs) == (calm.entries, calm.syncs)


def _answers(steps: list[AnyCommand], sender: str) -> list[RejectionCode]:
    return run(steps).rejections_of(sender)


def test_only_the_last_owner_returns_to_an_empty_invite_conversation() -> None:
    """A former member and a stranger may not join; the last owner joins and is the owner again."""
    left: list[AnyCommand] = [
        CreateConversation(**fields_of(0, "ann"), members=["bob"]),
        RemoveMembers(**fields_of(1, "ann"), members=["ann"]),
        RemoveMembers(**fields_of(2, "bob"), members=["bob"]),
    ]
    for stranger in ("ann", "cid"):
        assert _answers(
            [*left, AddMembers(**fields_of(9, stranger), members=[stranger])], stranger
        ) == ["not_allowed"]
    more: list[AnyCommand] = [
        AddMembers(**fields_of(3, "bob"), members=["bob"]),
        AddMembers(**fields_of(4, "bob"), members=["ann"]),
        RemoveMembers(**fields_of(5, "bob"), members=["ann"]),
    ]
    assert _answers([*left, *more], "bob") == []


def test_a_person_who_enters_an_empty_open_conversation_owns_it() -> None:
    """A join of an empty open conversation is followed by an entry that makes the person owner."""
    log = run([
        CreateConversation(**fields_of(0, "ann"), members=[], join="open"),
        RemoveMembers(**fields_of(1, "ann"), members=["ann"]),
        AddMembers(**fields_of(2, "cid"), members=["cid"]),
    ])  # fmt: skip
    last = log.timeline_of("c1")[-1]
    assert isinstance(last, OwnershipTransferred)
    assert (last.owner, last.sender) == ("cid", "cid")


def test_a_transfer_is_refused_with_the_right_code() -> None:
    """A transfer to oneself, to a stranger, by a member or by a stranger has its own reason."""
    made = CreateConversation(**fields_of(0, "ann"), members=["bob"])
    for sender, to, code in (
        ("ann", "ann", "invalid"),
        ("ann", "cid", "not_a_member"),
        ("bob", "bob", "invalid"),
        ("bob", "ann", "not_allowed"),
        ("cid", "ann", "not_a_member"),
    ):
        assert _answers([made, TransferOwnership(**fields_of(1, sender), to=to)], sender) == [code]
