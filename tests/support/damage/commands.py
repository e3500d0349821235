"""Damages to the input, and outcomes that do not match the input."""

from __future__ import annotations

from msgspec import structs

from audit.input_records import NO_POSITION, InputLetter, InputRecord
from schemas.codec import decode_command, decode_sync_record, encode
from schemas.number_types import Milliseconds, Offset, SeqId
from schemas.records import (
    AddMembers,
    AnyCommand,
    MarkRead,
    MessageSent,
    Reply,
    SendMessage,
    TextContent,
    makes_no_entry,
)
from tests.support.audited import System
from tests.support.damage.tools import Expected, Pick, add_sync, damage, entry_of


def _command(record: InputRecord) -> AnyCommand:
    return decode_command(record.value)


def _accepted_at(system: System) -> list[int]:
    """The positions of commands that produced an entry."""
    times = {(entry.conv_id, entry.at) for entry in map(entry_of, system.timeline)}
    return [
        at
        for at, record in enumerate(system.input)
        if (_command(record).conv_id, record.at) in times and not makes_no_entry(_command(record))
    ]


def _append(system: System, value: bytes, key: bytes) -> InputRecord:
    """Appends a record that the sequencer has already passed."""
    partition = next(each.partition for each in system.input if each.key == b"c1")
    end = max(record.offset for record in system.input) + 1
    record = InputRecord(partition, Offset(end), Milliseconds(9_999_999), key, value)
    system.input.append(record)
    return record


def _another_message(command: AnyCommand) -> SendMessage:
    return SendMessage(
        conv_id="c1", sender="ann", device_id="d", client_msg_id=command.client_msg_id,
        content=TextContent(text="lost"),
    )  # fmt: skip


@damage
def _input_has_a_command_without_an_outcome(system: System, pick: Pick) -> Expected:
    command = _another_message(_command(pick.one(system.input)))
    _append(system, encode(command), b"c1")
    return Expected("input", "missing", "c1", user="ann")


@damage
def _input_has_a_mark_without_an_outcome(system: System, pick: Pick) -> Expected:
    name = _command(pick.one(system.input)).client_msg_id
    command = MarkRead(conv_id="c1", sender="ann", device_id="d", client_msg_id=name, seq=SeqId(2))
    _append(system, encode(command), b"c1")
    return Expected("input", "missing", "c1", user="ann")


@damage
def _input_has_what_is_no_command_and_no_letter(system: System, pick: Pick) -> Expected:
    good = encode(_another_message(_command(system.input[0])))
    value, key = pick.one([(b"{}", b"c1"), (b"", b"c1"), (good, b"another")])
    _append(system, value, key)
    return Expected("input", "missing")


@damage
def _input_lacks_the_command_of_an_entry(system: System, pick: Pick) -> Expected:
    record = system.input.pop(pick.one(_accepted_at(system)))
    return Expected("input", "extra", _command(record).conv_id)


@damage
def _input_has_another_text(system: System, pick: Pick) -> Expected:
    places = [at for at in _accepted_at(system) if _is_message(system.input[at])]
    at = pick.one(places)
    command = _command(system.input[at])
    assert isinstance(command, SendMessage)
    text, mentions = command.content.text, [*command.mentions, "eve"]
    other = pick.one(
        [
            structs.replace(command, content=TextContent(text=f"{text} not")),
            structs.replace(command, mentions=mentions),
        ]
    )
    system.input[at] = system.input[at]._replace(value=encode(other))
    return Expected("input", "altered", command.conv_id)


def _is_message(record: InputRecord) -> bool:
    return isinstance(_command(record), SendMessage)


@damage
def _input_names_other_people(system: System, pick: Pick) -> Expected:
    places = _accepted_at(system)
    at = pick.one([at for at in places if isinstance(_command(system.input[at]), AddMembers)])
    command = _command(system.input[at])
    assert isinstance(command, AddMembers)
    other = structs.replace(command, members=["somebody", *command.members[1:]])
    system.input[at] = system.input[at]._replace(value=encode(other))
    return Expected("input", "altered", command.conv_id)


@damage
def _input_has_another_time(system: System, pick: Pick) -> Expected:
    at = pick.one(_accepted_at(system))
    record = system.input[at]
    system.input[at] = record._replace(at=Milliseconds(record.at + 100_000))
    return Expected("input", "altered", _command(record).conv_id, user=_command(record).sender)


@damage
def _a_device_has_ids_in_another_order(system: System, pick: Pick) -> Expected:
    said = [
        entry_of(record) for record in system.timeline if isinstance(entry_of(record), MessageSent)
    ]
    devices = {each.client_msg_id: each.device_id for each in map(_command, system.input)}
    ours = ("c1", "ann", "d")
    mine = [e for e in said if (e.conv_id, e.sender, devices[e.client_msg_id]) == ours]
    at = pick.index(mine[:-1])
    one, other = (entry.client_msg_id.encode() for entry in mine[at : at + 2])

    def swapped(value: bytes | None) -> bytes:
        return (value or b"").replace(one, b"?").replace(other, one).replace(b"?", other)

    system.input = [each._replace(value=swapped(each.value)) for each in system.input]
    system.timeline = [each._replace(value=swapped(each.value)) for each in system.timeline]
    system.sync = [each._replace(value=swapped(each.value)) for each in system.sync]
    system.messages = [row._replace(entry=swapped(row.entry)) for row in system.messages]
    system.sync_rows = [row._replace(records=swapped(row.records)) for row in system.sync_rows]
    return Expected("input", "out_of_order", "c1", mine[at + 1].seq)


@damage
def _a_dead_letter_is_about_an_accepted_command(system: System, pick: Pick) -> Expected:
    record = system.input[pick.one(_accepted_at(system))]
    system.letters.append(InputLetter(record.partition, record.offset, record.offset))
    return Expected("input", "double", _command(record).conv_id)


@damage
def _a_refusal_has_no_command(system: System, pick: Pick) -> Expected:
    replies = [
        (number, key, decode_sync_record(value))
        for number, _, key, value in system.sync
        if isinstance(decode_sync_record(value), Reply)
    ]
    number, key, reply = pick.one(replies)
    assert isinstance(reply, Reply)
    add_sync(system, number, key, encode(structs.replace(reply, at=reply.at + 1_000)))
    return Expected("input", "extra", alone=False)


@damage
def _an_accepted_command_is_refused_too(system: System, pick: Pick) -> Expected:
    record = system.input[pick.one(_accepted_at(system))]
    command = _command(record)
    reply = {
        "kind": "rejected", "conv_id": command.conv_id, "sender": command.sender,
        "device_id": command.device_id, "client_msg_id": command.client_msg_id,
        "at": record.at, "code": "not_allowed",
    }  # fmt: skip
    sender = command.sender
    add_sync(system, system.last_home(sender), sender.encode(), encode(reply))
    return Expected("input", "double", command.conv_id, user=sender, alone=False)


@damage
def _a_refusal_is_lost(system: System, pick: Pick) -> Expected:
    places = [
        at
        for at, record in enumerate(system.sync)
        if isinstance(decode_sync_record(record.value), Reply)
    ]
    _, _, key, value = system.sync.pop(pick.one(places))
    conv_id = decode_sync_record(value).conv_id
    return Expected("input", "missing", conv_id, user=(key or b"").decode(), alone=False)


@damage
def _retention_overtakes_the_sequencer(system: System, pick: Pick) -> Expected:
    partition = next(each.partition for each in system.input if each.key == b"c1")
    own = [record for record in system.input if record.partition == partition]
    cut = pick.one(own[1:5]).offset
    system.input_lows[partition] = cut
    system.done[partition] = Offset(cut - 1)
    return Expected("input", "missing", alone=False)


@damage
def _the_sequencer_has_no_position(system: System, pick: Pick) -> Expected:
    partition = pick.one(sorted({record.partition for record in system.timeline}))
    system.done[partition] = NO_POSITION
    return Expected("input", "no_position")
