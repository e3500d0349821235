"""Damages to the tables of messages, conversations and memberships."""

from __future__ import annotations

from typing import Any

from audit.store import ConversationRow
from backends.cassandra.memberships import user_bucket
from schemas.limits import MEMBERSHIP_BUCKET
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
    return Expected("store", "missing", row[0], row[2])


@damage
def _store_has_a_message_twice(system: System, pick: Pick) -> Expected:
    row = pick.one(system.messages)
    system.messages.append(row)
    return Expected("store", "double", row[0], row[2])


@damage
def _store_has_a_message_in_another_bucket(system: System, pick: Pick) -> Expected:
    at = pick.index(system.messages)
    row = system.messages[at]
    system.messages[at] = (row[0], row[1] + 1, *row[2:])
    return Expected("store", "misplaced", row[0], row[2])


@damage
def _store_alters_a_column_of_a_message(system: System, pick: Pick) -> Expected:
    with_text = [at for at, row in enumerate(system.messages) if row[6]]
    at, column = pick.one(with_text), pick.one((3, 4, 5, 6, 9))
    row = system.messages[at]
    count = (row[9] or 0) + 1
    other: Any = {3: "gossip", 4: STRANGER, 5: 7, 6: row[6] or b"", 9: count}[column]
    changed = other.replace(b'"at":1', b'"at":2') if column == 6 else other
    # A missing count is read as no messages, which may be correct.
    damaged = changed if column == 9 else pick.one((None, changed))
    system.messages[at] = with_column(row, column, damaged)
    return Expected("store", "altered", row[0], row[2])


@damage
def _store_has_a_message_of_its_own(system: System, pick: Pick) -> Expected:
    row = pick.one(system.messages)
    conv_id, seq = pick.one([(row[0], row[2] + 1_000), (row[0], 0), ("nowhere", 1)])
    system.messages.append((conv_id, 0, seq, *row[3:]))
    return Expected("store", "extra", conv_id, seq)


@damage
def _store_has_a_text_after_its_recall(system: System, pick: Pick) -> Expected:
    recalled = [at for at, row in enumerate(system.messages) if row[8]]
    at = pick.one(recalled)
    row = system.messages[at]
    damaged = pick.one((with_column(row, 6, b"a text"), with_column(row, 8, None)))
    system.messages[at] = damaged
    return Expected("store", "altered", row[0], row[2])


@damage
def _store_does_not_know_of_an_edit(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.messages) if row[7]])
    row = system.messages[at]
    system.messages[at] = with_column(row, 7, pick.one((None, row[2])))
    return Expected("store", "altered", row[0], row[2])


@damage
def _store_loses_a_conversation(system: System, pick: Pick) -> Expected:
    row = system.conversations.pop(pick.index(system.conversations))
    return Expected("store", "missing", row[0])


@damage
def _store_alters_a_conversation(system: System, pick: Pick) -> Expected:
    at, column = pick.index(system.conversations), pick.one(range(1, 11))
    row = system.conversations[at]
    rule = {"all": pick.one((None, "since_join")), "since_join": "all"}[row[5] or ""]
    wrong = (row[6] or 0) + 1
    count = (row.member_count or 0) + 1
    other: Any = {
        1: (row[1] or 0) - 1, 2: STRANGER, 3: "closed", 4: "shove", 5: rule, 6: wrong, 7: 7,
        8: count, 9: "another name", 10: '{"another": 1}',
    }[column]  # fmt: skip
    # Without these columns a default applies, which may be correct.
    damaged = other if column in (5, 6, 7, 9, 10) else pick.one((None, other))
    system.conversations[at] = ConversationRow._make(with_column(row, column, damaged))
    return Expected("store", "altered", row[0])


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
    rows[at] = with_column(rows[at], 3, pick.one((None, not joined)))
    return Expected("membership", "altered", conv_id, seq, user)


@damage
def _membership_lets_a_newcomer_read_otherwise(system: System, pick: Pick) -> Expected:
    rows = pick.one((system.by_user, system.by_conversation))
    at = pick.index(rows)
    user, conv_id, seq, _, rule, *_ = rows[at]
    other = pick.one((None, "since_join") if rule == "all" else ("all",))
    rows[at] = with_column(rows[at], 4, other)
    return Expected("membership", "altered", conv_id, seq, user)


@damage
def _membership_has_a_change_of_its_own(system: System, pick: Pick) -> Expected:
    rows = pick.one((system.by_user, system.by_conversation))
    user, conv_id, seq, joined, rule, _, *counted = pick.one(rows)
    place = pick.one([(STRANGER, conv_id, seq), (user, "nowhere", 1), (user, conv_id, 1_000)])
    bucket = user_bucket(place[1]) if rows is system.by_user else place[2] // MEMBERSHIP_BUCKET
    messages, at = counted
    rows.append((*place, joined, rule, bucket, messages, at))
    return Expected("membership", "extra", place[1], place[2], place[0])


@damage
def _membership_has_a_change_in_another_bucket(system: System, pick: Pick) -> Expected:
    rows = pick.one((system.by_user, system.by_conversation))
    at = pick.index(rows)
    row = rows[at]
    rows[at] = with_column(row, 5, row[5] + 1)
    return Expected("membership", "misplaced", row[1], row[2], row[0])


@damage
def _membership_counts_otherwise(system: System, pick: Pick) -> Expected:
    at = pick.index(system.by_user)
    row = system.by_user[at]
    more = pick.one((1, 7))
    column, number = pick.one(((6, (row[6] or 0) + more), (7, (row[7] or 0) + more)))
    system.by_user[at] = with_column(row, column, number)
    return Expected("membership", "altered", row[1], row[2], row[0])
