"""The rules of entries that change members, owner or mode."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from audit.conversation import AuditedConversation
from audit.rule_names import Broken
from schemas.descriptions import description_fault
from schemas.direct_chats import direct_chat_id, is_direct_chat
from schemas.limits import Limits
from schemas.number_types import SeqId
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    FanoutChanged,
    FanoutMode,
    MembersAdded,
    MembersRemoved,
    OwnershipTransferred,
)


def membership_rules(
    before: AuditedConversation,
    entry: ConversationCreated | MembersAdded | MembersRemoved,
    limits: Limits,
) -> Iterator[Broken]:
    """The rules of an entry that names people."""
    people = set(entry.members)
    if not people:
        yield Broken("nobody_named", "a membership entry must name at least one person")
    if len(people) != len(entry.members):
        yield Broken("named_twice", "an entry must name each person once")
    if len(entry.members) > limits.members_per_entry:
        detail = f"{len(entry.members)} people, at most {limits.members_per_entry}"
        yield Broken("too_many_named", detail)
    yield from _count_rules(before, entry, people)
    if isinstance(entry, ConversationCreated):
        yield from _creation_rules(entry, people)
    else:
        yield from _change_rules(before, entry, people)


def _count_rules(
    before: AuditedConversation,
    entry: ConversationCreated | MembersAdded | MembersRemoved,
    people: set[str],
) -> Iterator[Broken]:
    """Entries of early versions have no count of members."""
    is_leave = isinstance(entry, MembersRemoved)
    due = len(before.members - people if is_leave else before.members | people)
    if entry.member_count not in (UNSET, due):
        detail = f"counts {entry.member_count} members, there are {due}"
        yield Broken("wrong_member_count", detail)


def _creation_rules(entry: ConversationCreated, people: set[str]) -> Iterator[Broken]:
    if entry.sender not in people:
        yield Broken("creator_not_a_member", "the creator must be a member")
    if entry.mode != "push":
        yield Broken("wrong_mode", "a conversation begins with push")


def _change_rules(
    before: AuditedConversation, entry: MembersAdded | MembersRemoved, people: set[str]
) -> Iterator[Broken]:
    if isinstance(entry, MembersAdded):
        yield from _addition_rules(before, entry, people)
    else:
        yield from _removal_rules(before, entry, people)
    if not before.has_holes:
        yield from _period_rules(before, entry)
    if entry.mode != before.mode:
        detail = f"{entry.mode} while the mode of the conversation is {before.mode}"
        yield Broken("wrong_mode", detail)


def _addition_rules(
    before: AuditedConversation, entry: MembersAdded, people: set[str]
) -> Iterator[Broken]:
    if not people.isdisjoint(before.members):
        yield Broken("added_a_member", "adds a person who is a member")
    if entry.history != before.history:
        detail = f"{entry.history} while the rule of the conversation is {before.history}"
        yield Broken("wrong_history", detail)
    if entry.sender in before.members:
        return
    may_enter = before.join == "open" or (not before.members and entry.sender == before.owner)
    if people != {entry.sender} or not may_enter:
        yield Broken("no_right_to_add", "the sender is not a member and may not add themselves")


def _removal_rules(
    before: AuditedConversation, entry: MembersRemoved, people: set[str]
) -> Iterator[Broken]:
    if not people.issubset(before.members):
        yield Broken("removed_a_stranger", "removes a person who is not a member")
    if entry.sender != before.owner and people != {entry.sender}:
        yield Broken("no_right_to_remove", "the sender is not the owner and removes others")
    # An earlier entry of the same command may have removed the sender.
    if entry.sender not in before.members and not before.command.continues(entry):
        yield Broken("sender_not_a_member", "only a member may remove members")


def _period_rules(
    before: AuditedConversation, entry: MembersAdded | MembersRemoved
) -> Iterator[Broken]:
    """An entry must name exactly the periods other than number 0 begun by the entry itself."""
    due: dict[str, int] | dict[str, tuple[int, SeqId]]
    if isinstance(entry, MembersAdded):
        begun = {user: before.numbered.begun_by(user, entry.seq) for user in entry.members}
        due = {user: period for user, period in begun.items() if period != (0, entry.seq)}
    else:
        numbers = {user: before.numbered.number(user) for user in entry.members}
        due = {user: number for user, number in numbers.items() if number}
    found = entry.periods or {}
    if found != due:
        people = set(entry.members) | set(found)
        wrong = sum(found.get(user) != due.get(user) for user in people)
        yield Broken("wrong_periods", f"{wrong} people have the wrong period")


def transfer_rules(before: AuditedConversation, entry: OwnershipTransferred) -> Iterator[Broken]:
    """The rules of a change of owner: by the owner, or by succession after the owner left."""
    if entry.owner not in before.members:
        yield Broken("owner_not_a_member", "the new owner is not a member")
    if before.owner in before.members and entry.sender != before.owner:
        yield Broken("no_right_to_transfer", "the owner is a member, but not the sender")
    if before.owner in before.members:
        return
    if not before.command.continues(entry):
        yield Broken("no_right_to_transfer", "does not follow an entry of the same command")
    if entry.owner in before.members and entry.owner != before.longest_standing():
        yield Broken("wrong_successor", "another member has an older membership")


def description_rules(
    before: AuditedConversation, entry: ConversationDescribed
) -> Iterator[Broken]:
    """The rules of a new name and of new metadata: by the owner, and within the limits."""
    if entry.sender != before.owner:
        yield Broken("no_right_to_describe", "the sender is not the owner")
    fault = description_fault(entry.conv_id, entry.sender, entry.name, entry.metadata)
    if fault is not None:
        yield Broken("wrong_description", fault.reason)
    if entry.name is UNSET and entry.metadata is UNSET:
        yield Broken("wrong_description", "has neither a name nor metadata")


def direct_chat_rules(entry: AnyEntry) -> Iterator[Broken]:
    """A direct chat is of its two people, and nothing changes its members, owner or name."""
    if not is_direct_chat(entry.conv_id):
        return
    match entry:
        case ConversationCreated(members=members, sender=sender, join=join):
            is_pair = len(members) == 2 and sender in members  # noqa: PLR2004 - a pair
            if join != "invite" or not is_pair or direct_chat_id(*members) != entry.conv_id:
                yield Broken("wrong_direct_chat", "not of the two people of its id")
        case MembersAdded() | MembersRemoved() | OwnershipTransferred() | ConversationDescribed():
            yield Broken("wrong_direct_chat", "changes its members, its owner or its name")


def fanout_rules(
    before: AuditedConversation, entry: FanoutChanged, limits: Limits
) -> Iterator[Broken]:
    """The rules of a change of mode. The entry states the limits that the sequencer used."""
    count, most, below = entry.member_count, entry.push_limit, entry.push_again_below
    if count != len(before.members):
        detail = f"counts {count} members, there are {len(before.members)}"
        yield Broken("wrong_member_count", detail)
    if entry.mode == before.mode:
        yield Broken("switch_to_same_mode", f"the mode was {entry.mode} before")
    if (entry.mode == "pull" and count <= most) or (entry.mode == "push" and count >= below):
        detail = f"to {entry.mode} with {count} members, with the limits {most} and {below}"
        yield Broken("switch_unfounded", detail)
    due = (limits.push_limit, limits.push_again_below)
    if below > most or (due[1] > 0 and (most, below) != due):
        yield Broken(
            "wrong_limits", f"{most} and {below}, the settings have {due[0]} and {due[1]}"
        )
    if not (before.command.continues(entry) and before.command.has_changed_members):
        yield Broken("switch_alone", "does not follow a membership entry of the same command")


def switch_due(before: AuditedConversation, limits: Limits) -> FanoutMode | None:
    """The mode that a conversation must change to after its last entry; None without a change."""
    count = len(before.members)
    if not before.command.has_changed_members:
        return None
    if before.mode == "push" and count > limits.push_limit:
        return "pull"
    if before.mode == "pull" and count < limits.push_again_below:
        return "push"
    return None
