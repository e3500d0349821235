"""Accepted and refused recalls and edits, with the reason of each refusal.

`run` gives each command a time one millisecond after the command before it, from 1,000 on.
"""

from __future__ import annotations

import pytest

from schemas.errors import RejectionCode
from schemas.limits import MAX_EDITS, RECENT_PAGE, RECENT_PAGES, Limits
from schemas.number_types import Milliseconds
from schemas.records import (
    AnyCommand,
    CreateConversation,
    Duplicate,
    MessageRecalled,
    Rejected,
)
from tests.support.commands import edit, fields_of, message, recall
from tests.support.sequencing import Commit, Crash, Log, run

GROUP: list[AnyCommand] = [
    CreateConversation(**fields_of(1, "own", device_id="x"), members=["u0", "u1"], join="open"),
    message(2),  # SeqId 2, by u0
    message(3, "u1"),
]


def code_of(log: Log, sender: str) -> RejectionCode | None:
    """The rejection code of a sender's last command; None if it was accepted."""
    last = log.sync_of(sender)[-1]
    return last.code if isinstance(last, Rejected) else None


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (recall(9, 2), None),
        (recall(9, 2, "u1"), "not_allowed"),
        (recall(9, 1), "unknown_message"),
        (recall(9, 0), "unknown_message"),
        (recall(9, -(1 << 70)), "unknown_message"),
        (recall(9, 4), "unknown_message"),
        (recall(9, 1 << 70), "unknown_message"),
        (recall(9, 2, "stranger"), "not_a_member"),
        (recall(9, 2, conv_id="c2"), "unknown_conversation"),
        (recall(9, 2, "own"), "not_allowed"),
        (edit(9, 2, "hello"), None),
        (edit(9, 2, "hello", "u1"), "not_allowed"),
        (edit(9, 1, "hello"), "unknown_message"),
        (edit(9, 2, "x" * 9_000), "too_large"),
        (edit(9, 2, "hello", "own"), "not_allowed"),
        (edit(9, 2, "hello", "stranger"), "not_a_member"),
        (edit(9, 2, "hello", conv_id="c2"), "unknown_conversation"),
    ],
)
def test_each_refusal_has_its_reason(command: AnyCommand, code: RejectionCode | None) -> None:
    """A refused recall or edit gives its sender the reason, and makes no entry."""
    log = run([*GROUP, command], Limits())
    assert code_of(log, command.sender) == code
    assert len(log.entries) == 3 + (code is None)


def test_the_owner_recalls_messages_of_others_if_permitted() -> None:
    """With the setting, the owner recalls messages of others, but cannot edit them."""
    limits = Limits(owner_recalls=True)
    assert code_of(run([*GROUP, edit(9, 2, "hello", "own")], limits), "own") == "not_allowed"
    entry = run([*GROUP, recall(9, 2, "own")], limits).timeline_of("c1")[-1]
    assert isinstance(entry, MessageRecalled)
    assert (entry.sender, entry.target, entry.target_at) == ("own", 2, 1_001)


@pytest.mark.parametrize(
    ("recall_ms", "edit_ms", "recalled", "edited"),
    [
        (2, 1, None, "too_late"),
        (1, 2, "too_late", None),
        (0, 2, "not_allowed", None),
        (2, 0, None, "not_allowed"),
    ],
)
def test_recalls_and_edits_have_their_time_limits(
    recall_ms: int,
    edit_ms: int,
    recalled: RejectionCode | None,
    edited: RejectionCode | None,
) -> None:
    """The broker's times of both commands decide, to the millisecond; a limit of 0 forbids."""
    limits = Limits(recall_within_ms=Milliseconds(recall_ms), edit_within_ms=Milliseconds(edit_ms))
    # The message has the time 1,001; these commands have the time 1,003.
    assert code_of(run([*GROUP, recall(9, 2)], limits), "u0") == recalled
    assert code_of(run([*GROUP, edit(9, 2, "hello")], limits), "u0") == edited


def test_a_recalled_message_cannot_be_altered() -> None:
    """A recalled message is not recalled or edited again; a repeated recall is a duplicate."""
    gone = [*GROUP, recall(9, 2)]
    assert code_of(run([*gone, recall(10, 2)], Limits()), "u0") == "already_recalled"
    assert code_of(run([*gone, edit(10, 2, "hello")], Limits()), "u0") == "already_recalled"
    assert isinstance(run([*gone, recall(9, 2)], Limits()).sync_of("u0")[-1], Duplicate)


def test_an_edit_cannot_be_edited_or_recalled() -> None:
    """The SeqId of an edit is not a target, and the recall of a message covers its edits."""
    edited = [*GROUP, edit(9, 2, "hello")]
    assert code_of(run([*edited, recall(10, 4)], Limits()), "u0") == "unknown_message"
    entry = run([*edited, edit(10, 2, "ahoy"), recall(11, 2)], Limits()).timeline_of("c1")[-1]
    assert isinstance(entry, MessageRecalled)
    assert entry.edits == [4, 5]


def test_a_message_has_a_bounded_number_of_edits() -> None:
    """The number of edits has a bound, so that a recall can name them; the recall still works."""
    edits = [edit(9 + number, 2, "hello") for number in range(MAX_EDITS + 1)]
    log = run([*GROUP, *edits], Limits())
    assert code_of(log, "u0") == "too_many_edits"
    assert len(log.entries) == len(GROUP) + MAX_EDITS
    assert code_of(run([*GROUP, *edits, recall(99, 2)], Limits()), "u0") is None


def test_the_last_thousand_seqids_can_be_recalled_after_a_crash_as_before() -> None:
    """A recall of an old message has the same outcome before and after a crash of the worker."""
    many = [message(100 + number) for number in range(RECENT_PAGE * RECENT_PAGES + 50)]
    head = len(GROUP) + len(many)
    wanted = {head: None, head - 1_000: None, 2: "too_late", 3: "too_late"}
    for seq, code in wanted.items():
        for crash in (False, True):
            steps: list[AnyCommand | type[Crash | Commit]] = [*GROUP, *many]
            steps += [Commit, Crash] if crash else []
            log = run([*steps, recall(5_000, seq)], Limits(), busy_limit=1)
            assert code_of(log, "u0") == code
