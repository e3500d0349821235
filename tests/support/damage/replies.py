"""Damages to the replies on the sync timelines, as an incorrect sequencer could write them."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from schemas.codec import decode_sync_record, encode
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.records import (
    AnyReply,
    ConversationMuted,
    Duplicate,
    MessageSent,
    ReadMarked,
    Rejected,
)
from tests.support.audited import System
from tests.support.damage.tools import (
    STRANGER,
    Expected,
    Pick,
    add_sync,
    damage,
    entry_of,
    set_value,
)

_LATE = 1_000_000
"""A time (ms) after all other times."""


def _add(system: System, reply: AnyReply) -> None:
    number = system.last_home(reply.sender)
    add_sync(system, number, reply.sender.encode(), encode(reply))


def _name_of(reply: Any) -> dict[str, Any]:
    """The fields of a reply that identify its command."""
    return {
        name: getattr(reply, name)
        for name in ("conv_id", "sender", "device_id", "client_msg_id", "at")
    }


def _marks(system: System) -> list[ReadMarked]:
    found = (decode_sync_record(value) for *_, value in system.sync)
    return [record for record in found if isinstance(record, ReadMarked)]


def _said(system: System) -> list[MessageSent]:
    found = map(entry_of, system.timeline)
    return [entry for entry in found if isinstance(entry, MessageSent)]


def _later(entry: MessageSent) -> dict[str, Any]:
    """The fields of a later copy of a message's command."""
    name = {name: getattr(entry, name) for name in ("conv_id", "sender", "client_msg_id")}
    return name | {"device_id": "d", "at": entry.at + _LATE}


@damage
def _a_mark_goes_back(system: System, pick: Pick) -> Expected:
    mark = pick.one(_marks(system))
    _add(system, structs.replace(mark, at=mark.at + _LATE))
    return Expected("sync-log", "mark_went_back", mark.conv_id, mark.seq, mark.sender, alone=False)


@damage
def _a_stranger_marks(system: System, pick: Pick) -> Expected:
    seq = pick.one((1, 2))
    mark = ReadMarked(
        conv_id="c1",
        sender=STRANGER,
        device_id="d",
        client_msg_id=uuid7(9, 9),
        at=Milliseconds(_LATE),
        seq=SeqId(seq),
    )
    _add(system, mark)
    return Expected("sync-log", "mark_of_a_stranger", "c1", seq, STRANGER, alone=False)


@damage
def _a_stranger_mutes(system: System, pick: Pick) -> Expected:
    mute = ConversationMuted(
        conv_id="c1",
        sender=STRANGER,
        device_id="d",
        client_msg_id=uuid7(9, 9),
        at=Milliseconds(_LATE),
        seq=SeqId(pick.one((1, 2))),
        until=Milliseconds(0),
    )
    _add(system, mute)
    return Expected("sync-log", "mute_of_a_stranger", "c1", mute.seq, STRANGER, alone=False)


@damage
def _a_former_member_mutes(system: System, pick: Pick) -> Expected:
    at, refused = _refusals_of(system, pick.one(("\u9648",)))[1]  # the refused mute
    mute = ConversationMuted(**_name_of(refused), seq=SeqId(4), until=Milliseconds(0))
    set_value(system.sync, at, encode(mute))
    return Expected("input", "mute_of_a_stranger", "c1", user=refused.sender, alone=False)


@damage
def _a_former_member_marks(system: System, pick: Pick) -> Expected:
    at, refused = _refusals_of(system, pick.one(("\u9648",)))[0]
    mark = ReadMarked(**_name_of(refused), seq=SeqId(4))
    set_value(system.sync, at, encode(mark))
    return Expected("input", "mark_of_a_stranger", "c1", user=refused.sender, alone=False)


def _refusals_of(system: System, user: str) -> list[tuple[int, Rejected]]:
    """The rejections of a person in the story as ``not_a_member``, each with its position."""
    records = enumerate(decode_sync_record(value) for *_, value in system.sync)
    return [
        (at, record)
        for at, record in records
        if isinstance(record, Rejected) and (record.sender, record.code) == (user, "not_a_member")
    ]


@damage
def _a_duplicate_names_another_entry(system: System, pick: Pick) -> Expected:
    entry = pick.one(_said(system))
    _add(system, Duplicate(**_later(entry), seq=SeqId(1)))
    return Expected("sync-log", "wrong_duplicate", entry.conv_id, 1, entry.sender, alone=False)


@damage
def _a_duplicate_of_what_had_no_effect(system: System, pick: Pick) -> Expected:
    at, refused = _refusals_of(system, pick.one(("f",)))[0]
    set_value(system.sync, at, encode(Duplicate(**_name_of(refused), seq=SeqId(1))))
    return Expected("input", "wrong_duplicate", "c1", user=refused.sender, alone=False)


@damage
def _an_accepted_id_is_refused_later(system: System, pick: Pick) -> Expected:
    entry = pick.one(_said(system))
    _add(system, Rejected(**_later(entry), code=pick.one(("not_a_member", "too_late"))))
    return Expected(
        "sync-log", "refused_after_entry", entry.conv_id, user=entry.sender, alone=False
    )
