"""The rules of entries that change members, owner or mode."""

from __future__ import annotations

from collections.abc import Iterator

from ops.verify.conversation import Conversation
from ops.verify.rule_names import Broken
from schemas.limits import Limits
from schemas.records import (
    ConversationCreated,
    FanoutChanged,
    FanoutMode,
    MembersAdded,
    MembersRemoved,
    OwnershipTransferred,
)


def membership_rules(
    before: Conversation,
    entry: ConversationCreated | MembersAdded | MembersRemoved,
    limits: Limits,
) -> Iterator[Broken]:
    """Rules of an entry that names people."""
    people = set(entry.members)
    if not people:
        yield Broken("nobody_named", "an entry about members names at least one")
    if len(people) != len(entry.members):
        yield Broken("named_twice", "an entry names each person once")
    if len(entry.members) > limits.members_per_entry:
        detail = f"{len(entry.members)} people, at most {limits.members_per_entry}"
        yield Broken("too_many_named", detail)
    match entry:
        case ConversationCreated():
            if entry.sender not in people:
                yield Broken("creator_not_a_member", "the creator is a member")
            if entry.mode != "push":
                yield Broken("wrong_mode", "a conversation begins with push")
            return
        case MembersAdded():
            yield from _addition_rules(before, entry, people)
        case MembersRemoved():
            yield from _removal_rules(before, entry, people)
    if entry.mode != before.mode:
        detail = f"{entry.mode} while the mode of the conversation is {before.mode}"
        yield Broken("wrong_mode", detail)


def _addition_rules(
    before: Conversation, entry: MembersAdded, people: set[str]
) -> Iterator[Broken]:
    if not people.isdisjoint(before.members):
        yield Broken("added_a_member", "somebody who is a member")
    if entry.history != before.history:
        detail = f"{entry.history} while the rule of the conversation is {before.history}"
        yield Broken("wrong_history", detail)
    if entry.sender in before.members:
        return
    may_enter = before.join == "open" or (not before.members and entry.sender == before.owner)
    if people != {entry.sender} or not may_enter:
        yield Broken("no_right_to_add", "neither a member, nor somebody who may add themselves")


def _removal_rules(
    before: Conversation, entry: MembersRemoved, people: set[str]
) -> Iterator[Broken]:
    if not people.issubset(before.members):
        yield Broken("removed_a_stranger", "somebody who is not a member")
    if entry.sender != before.owner and people != {entry.sender}:
        yield Broken("no_right_to_remove", "neither the owner, nor somebody who leaves")
    # An earlier entry of the same command may have removed the sender.
    if entry.sender not in before.members and not before.continues(entry):
        yield Broken("sender_not_a_member", "only a member removes")


def transfer_rules(before: Conversation, entry: OwnershipTransferred) -> Iterator[Broken]:
    """Rules of a change of the owner: by the owner, or by succession after the owner left."""
    if entry.owner not in before.members:
        yield Broken("owner_not_a_member", "the new owner is not a member")
    if before.owner in before.members and entry.sender != before.owner:
        yield Broken("no_right_to_transfer", "the owner is a member, and not the sender")
    if before.owner in before.members:
        return
    if not before.continues(entry):
        yield Broken("no_right_to_transfer", "does not follow an entry of the same command")
    if entry.owner in before.members and entry.owner != before.longest_standing():
        yield Broken("wrong_successor", "another member has been there for longer")


def fanout_rules(before: Conversation, entry: FanoutChanged, limits: Limits) -> Iterator[Broken]:
    """Rules of a change of mode. The entry names the limits that the sequencer had."""
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
    if not (before.continues(entry) and before.has_changed_members):
        yield Broken("switch_alone", "does not follow a membership entry of the same command")


def switch_due(before: Conversation, limits: Limits) -> FanoutMode | None:
    """The mode that the conversation has to change to after its last entry, if it has to."""
    count = len(before.members)
    if not before.has_changed_members:
        return None
    if before.mode == "push" and count > limits.push_limit:
        return "pull"
    if before.mode == "pull" and count < limits.push_again_below:
        return "push"
    return None
