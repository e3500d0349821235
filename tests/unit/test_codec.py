"""Records are decoded strictly, and the reasons of a refusal hold nothing that was said."""

from __future__ import annotations

import json
from typing import Final

import jsonschema
import pytest
from hypothesis import given

import schemas.json_schema
from schemas.codec import decode_command, decode_entry, decode_position, encode
from schemas.errors import UndecodableRecord
from schemas.records import (
    AnyCommand,
    ConversationCreated,
    CreateConversation,
    MembersAdded,
    MessageSent,
    TextContent,
)
from tests.support.commands import commands, message

SECRET = "the text of a message"


@given(commands)
def test_a_command_survives_its_encoding(command: AnyCommand) -> None:
    """What is encoded is decoded to the same."""
    assert decode_command(encode(command)) == command


def test_a_field_from_the_future_is_ignored() -> None:
    """A newer writer may add fields."""
    value = encode(message(1)).replace(b'"device_id"', b'"new":[1],"device_id"')
    assert decode_command(value) == message(1)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"[]",
        b"not json",
        b"\xff",
        b'{"kind":"message_sent"}',
        encode(message(1)).replace(b'"sender"', b'"sent_by"'),
        encode(message(1)).replace(b'"u0"', b"7"),
        encode(message(1)).replace(b'"u0"', b'""'),
        encode(message(1)).replace(b'"u0"', b'"' + b"x" * 129 + b'"'),
        encode(message(1)).replace(b'"kind"', b'"v":2,"kind"'),
        encode(message(1)).replace(b'"type":"text"', b'"type":"smell"'),
    ],
)
def test_what_is_no_command_is_refused(value: bytes | None) -> None:
    """Null, garbage, missing and wrong fields, unknown kinds and versions."""
    with pytest.raises(UndecodableRecord):
        decode_command(value)


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_refusal_does_not_quote_the_text(cut: int) -> None:
    """The reason goes to logs and headers; what was said must not."""
    value = encode(message(1, text=SECRET)).replace(b'"mentions":[]', b'"mentions":7')
    with pytest.raises(UndecodableRecord) as caught:
        decode_command(value[: len(value) - cut])
    assert SECRET not in str(caught.value)


def test_an_entry_looks_as_others_rely_on() -> None:
    """Names, order and defaults of the one record that everybody reads."""
    entry = MessageSent(
        conv_id="c", seq=7, sender="ann", client_msg_id="i", at=5, messages=3,
        content=TextContent(text="hi"), mentions=[],
    )  # fmt: skip
    assert encode(entry) == (
        b'{"kind":"message_sent","conv_id":"c","seq":7,"sender":"ann","client_msg_id":"i","at":5,'
        b'"messages":3,"content":{"type":"text","text":"hi"},"mentions":[]}'
    )
    assert decode_entry(encode(entry)) == entry
    assert decode_position(encode(entry)).seq == 7


def test_what_was_written_before_messages_were_counted_is_read() -> None:
    """An entry of an earlier version counts none: what was said before does not count."""
    entry = decode_entry(
        b'{"kind":"message_sent","conv_id":"c","seq":7,"sender":"ann","client_msg_id":"i","at":5,'
        b'"content":{"type":"text","text":"hi"},"mentions":[]}'
    )
    assert entry.messages == 0


def test_what_was_written_before_the_history_rule_is_read() -> None:
    """Commands and entries of an earlier version have none: nothing before a join is open."""
    ids = b'"conv_id":"c","sender":"ann","client_msg_id":"i","members":["ann"],'
    command = decode_command(b'{"kind":"create_conversation",%b"device_id":"d"}' % ids)
    created = b'{"kind":"conversation_created",%b"seq":1,"at":1,"join":"open","mode":"push"}' % ids
    added = b'{"kind":"members_added",%b"seq":2,"at":1,"mode":"push"}' % ids
    assert isinstance(command, CreateConversation)
    assert command.history == "since_join"
    for value in (created, added):
        entry = decode_entry(value)
        assert isinstance(entry, ConversationCreated | MembersAdded)
        assert entry.history == "since_join"


def test_another_history_rule_is_refused() -> None:
    """What this version does not know it does not take for something else."""
    ids = b'"conv_id":"c","sender":"ann","client_msg_id":"i","members":[],"device_id":"d"'
    with pytest.raises(UndecodableRecord):
        decode_command(b'{"kind":"create_conversation",%b,"history":"some"}' % ids)


def test_the_json_schema_is_that_of_the_code() -> None:
    """The files for other languages are generated from the records of now."""
    for name, text in schemas.json_schema.documents().items():
        path = schemas.json_schema.FOLDER / name
        assert path.read_text(encoding="utf-8") == text, "run: python -m schemas.json_schema"


_COMMAND_SCHEMA: Final = jsonschema.Draft202012Validator(
    json.loads(schemas.json_schema.documents()["command.schema.json"])
)


@given(commands)
def test_commands_are_valid_by_their_json_schema(command: AnyCommand) -> None:
    """A client that follows the schema is understood."""
    _COMMAND_SCHEMA.validate(json.loads(encode(command)))
