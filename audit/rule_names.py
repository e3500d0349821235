"""The names of the rules of an entry. `docs/verify.md` has the meaning of each name."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

RuleName: TypeAlias = Literal[
    # any entry
    "no_creation",  # the first entry of a conversation is not conversation_created
    "created_twice",  # a later entry is conversation_created
    "wrong_count",  # the count of messages does not match the entries before
    "invalid_id",  # an id has a form that no command may have
    "id_repeated",  # an earlier entry has the same sender and client_msg_id
    "wrong_time",  # the entries of one command have different times
    "entry_too_long",
    "sender_not_a_member",
    # messages
    "empty_text",  # the text has no visible character
    "text_too_long",
    "too_many_mentions",
    "not_a_message",  # the target of an edit or recall
    "recalled_before",  # the target of an edit or recall
    "no_right_to_edit",  # the sender is not the sender of the message
    "no_right_to_recall",  # the sender is neither the sender of the message nor a permitted owner
    "edited_too_late",
    "recalled_too_late",
    "too_far_back",  # the target is not among the last 1,000 SeqIds
    "wrong_target_time",
    "too_many_edits",
    "wrong_edits",  # a recall does not name the edits of its message
    # members
    "creator_not_a_member",
    "nobody_named",
    "named_twice",
    "too_many_named",
    "no_right_to_add",
    "no_right_to_remove",
    "added_a_member",
    "removed_a_stranger",
    "wrong_mode",
    "wrong_history",
    "wrong_periods",  # number or beginning of a period does not match the changes before
    "owner_not_a_member",
    "no_right_to_transfer",
    "no_right_to_describe",
    "wrong_direct_chat",  # not of its two people, or changed
    "wrong_description",  # name or metadata outside their rules
    "wrong_successor",  # the new owner is not the longest-standing member
    "succession_missing",  # the owner has left, and no ownership_transferred follows
    # the push limit
    "switch_missing",  # a membership entry passed a limit, and no fanout_changed follows
    "switch_alone",  # fanout_changed does not follow a membership entry of the same command
    "switch_unfounded",  # the number of members does not allow the new mode
    "switch_to_same_mode",
    "wrong_member_count",
    "wrong_limits",  # the limits of fanout_changed are not those of the settings
]


class Broken(NamedTuple):
    """A broken rule of an entry. ``detail`` names no person and quotes no text."""

    rule: RuleName
    detail: str
