"""Damages to the tables of messages, conversations and memberships."""

from __future__ import annotations

from typing import Any

from audit.store import ConversationRow
from backends.cassandra.memberships import member_bucket, user_bucket
from schemas.number_types import BucketNumber, SeqId
from tests.support.audited import System
from tests.support.damage.tools import (
    STRANGER,
    Expected,
    Pick,
    damage,
    with_column,
)


@damage
def _store_loses_a_message(system: System, pick: Pick) -> Expected:
    row = system.messages.pop(pick.index(system.messages))
    return Expected("store", "missing", row.conv_id, row.seq)


@damage
def _store_has_a_message_twice(system: System, pick: Pick) -> Expected:
    row = pick.one(system.messages)
    system.messages.append(row)
    return Expected("store", "double", row.conv_id, row.seq)


@damage
def _store_has_a_message_in_another_bucket(system: System, pick: Pick) -> Expected:
    at = pick.index(system.messages)
    row = system.messages[at]
    system.messages[at] = row._replace(bucket=BucketNumber(row.bucket + 1))
    return Expected("store", "misplaced", row.conv_id, row.seq)


@damage
def _store_alters_a_column_of_a_message(system: System, pick: Pick) -> Expected:
    with_text = [at for at, row in enumerate(system.messages) if row.entry]
    at, column = pick.one(with_text), pick.one(("kind", "sender", "at", "entry", "messages"))
    row = system.messages[at]
    count = (row.messages or 0) + 1
    changed_entry = (row.entry or b"").replace(b'"at":1', b'"at":2')
    others: dict[str, Any] = {
        "kind": "gossip",
        "sender": STRANGER,
        "at": 7,
        "entry": changed_entry,
        "messages": count,
    }
    changed = others[column]
    # A missing count is read as no messages, which may be correct.
    damaged = changed if column == "messages" else pick.one((None, changed))
    system.messages[at] = with_column(row, column, damaged)
    return Expected("store", "altered", row.conv_id, row.seq)


@damage
def _store_has_a_message_of_its_own(system: System, pick: Pick) -> Expected:
    row = pick.one(system.messages)
    places = [(row.conv_id, row.seq + 1_000), (row.conv_id, 0), ("nowhere", 1)]
    conv_id, seq = pick.one(places)
    own = row._replace(conv_id=conv_id, bucket=BucketNumber(0), seq=SeqId(seq))
    system.messages.append(own)
    return Expected("store", "extra", conv_id, seq)


@damage
def _store_has_a_text_after_its_recall(system: System, pick: Pick) -> Expected:
    recalled = [at for at, row in enumerate(system.messages) if row.recalled_by]
    at = pick.one(recalled)
    row = system.messages[at]
    damaged = pick.one(
        (with_column(row, "entry", b"a text"), with_column(row, "recalled_by", None))
    )
    system.messages[at] = damaged
    return Expected("store", "altered", row.conv_id, row.seq)


@damage
def _store_does_not_know_of_an_edit(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.messages) if row.edited_by])
    row = system.messages[at]
    system.messages[at] = with_column(row, "edited_by", pick.one((None, row.seq)))
    return Expected("store", "altered", row.conv_id, row.seq)


@damage
def _store_loses_a_conversation(system: System, pick: Pick) -> Expected:
    row = system.conversations.pop(pick.index(system.conversations))
    return Expected("store", "missing", row.conv_id)


@damage
def _store_alters_a_conversation(system: System, pick: Pick) -> Expected:
    at, column = pick.index(system.conversations), pick.one(ConversationRow._fields[1:])
    row = system.conversations[at]
    rule = {"all": pick.one((None, "since_join")), "since_join": "all"}[row.history_rule or ""]
    wrong = (row.messages or 0) + 1
    count = (row.member_count or 0) + 1
    others: dict[str, Any] = {
        "head": (row.head or 0) - 1,
        "owner": STRANGER,
        "join_rule": "closed",
        "mode": "shove",
        "history_rule": rule,
        "messages": wrong,
        "at": 7,
        "member_count": count,
        "name": "another name",
        "metadata": '{"another": 1}',
    }
    other = others[column]
    # Without these columns a default applies, which may be correct.
    with_default = ("history_rule", "messages", "at", "name", "metadata")
    damaged = other if column in with_default else pick.one((None, other))
    system.conversations[at] = with_column(row, column, damaged)
    return Expected("store", "altered", row.conv_id)


@damage
def _store_has_a_conversation_of_its_own(system: System, pick: Pick) -> Expected:
    row = pick.one(system.conversations)
    system.conversations.append(row._replace(conv_id="nowhere"))
    return Expected("store", "extra", "nowhere")


@damage
def _membership_loses_a_change(system: System, pick: Pick) -> Expected:
    rows = pick.one((system.by_user, system.by_conversation))
    user, conv_id, seq, *_ = rows.pop(pick.index(rows))
    return Expected("membership", "missing", conv_id, seq, user)


@damage
def _membership_turns_a_change_round(system: System, pick: Pick) -> Expected:
    rows = pick.one((system.by_user, system.by_conversation))
    at = pick.index(rows)
    user, conv_id, seq, joined, *_ = rows[at]
    rows[at] = with_column(rows[at], "joined", pick.one((None, not joined)))
    return Expected("membership", "altered", conv_id, seq, user)


@damage
def _membership_lets_a_newcomer_read_otherwise(system: System, pick: Pick) -> Expected:
    rows = pick.one((system.by_user, system.by_conversation))
    at = pick.index(rows)
    user, conv_id, seq, _, rule, *_ = rows[at]
    other = pick.one((None, "since_join") if rule == "all" else ("all",))
    rows[at] = with_column(rows[at], "history_rule", other)
    return Expected("membership", "altered", conv_id, seq, user)


@damage
def _membership_has_a_change_of_its_own(system: System, pick: Pick) -> Expected:
    rows = pick.one((system.by_user, system.by_conversation))
    row = pick.one(rows)
    user, conv_id, seq = pick.one(
        [
            (STRANGER, row.conv_id, row.seq),
            (row.user_id, "nowhere", SeqId(1)),
            (row.user_id, row.conv_id, SeqId(1_000)),
        ]
    )
    bucket = user_bucket(conv_id) if rows is system.by_user else member_bucket(user)
    rows.append(row._replace(user_id=user, conv_id=conv_id, seq=seq, bucket=bucket))
    return Expected("membership", "extra", conv_id, seq, user)


@damage
def _membership_has_a_change_in_another_bucket(system: System, pick: Pick) -> Expected:
    rows = pick.one((system.by_user, system.by_conversation))
    at = pick.index(rows)
    row = rows[at]
    rows[at] = with_column(row, "bucket", row.bucket + 1)
    return Expected("membership", "misplaced", row.conv_id, row.seq, row.user_id)


@damage
def _membership_counts_otherwise(system: System, pick: Pick) -> Expected:
    at = pick.index(system.by_user)
    row = system.by_user[at]
    more = pick.one((1, 7))
    column, number = pick.one(
        (("messages", (row.messages or 0) + more), ("at", (row.at or 0) + more))
    )
    system.by_user[at] = with_column(row, column, number)
    return Expected("membership", "altered", row.conv_id, row.seq, row.user_id)
