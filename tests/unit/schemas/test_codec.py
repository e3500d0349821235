"""Records are decoded strictly, and the reason of a refusal contains no text of a message."""

from __future__ import annotations

import json
from typing import Final

import jsonschema
import pytest
from hypothesis import given

import schemas.json_schema
from schemas.codec import decode_command, decode_entry, decode_position, encode
from schemas.errors import UndecodableRecord
from schemas.number_types import Milliseconds, SeqId
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
def test_a_command_is_decoded_unchanged(command: AnyCommand) -> None:
    """Decoding an encoded command gives the same command."""
    assert decode_command(encode(command)) == command


def test_an_unknown_field_is_ignored() -> None:
    """A field of a newer version is ignored."""
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
def test_input_that_is_not_a_command_is_refused(value: bytes | None) -> None:
    """Null, garbage, missing and wrong fields, unknown kinds and versions are refused."""
    with pytest.raises(UndecodableRecord):
        decode_command(value)


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_refusal_does_not_quote_the_text(cut: int) -> None:
    """The reason of a refusal goes to logs and headers, so it contains no text of a message."""
    value = encode(message(1, text=SECRET)).replace(b'"mentions":[]', b'"mentions":7')
    with pytest.raises(UndecodableRecord) as caught:
        decode_command(value[: len(value) - cut])
    assert SECRET not in str(caught.value)


def test_the_json_of_an_entry_is_stable() -> None:
    """The encoded form of a message is fixed: names, order and defaults of its fields."""
    entry = MessageSent(
        conv_id="c", seq=SeqId(7), sender="ann", client_msg_id="i", at=Milliseconds(5), messages=3,
        content=TextContent(text="hi"), mentions=[],
    )  # fmt: skip
    assert encode(entry) == (
        b'{"kind":"message_sent","conv_id":"c","seq":7,"sender":"ann","client_msg_id":"i","at":5,'
        b'"messages":3,"content":{"type":"text","text":"hi"},"mentions":[]}'
    )
    assert decode_entry(encode(entry)) == entry
    assert decode_position(encode(entry)).seq == 7


def test_entries_without_a_message_count_are_read() -> None:
    """An entry of a version that did not count messages has the count 0."""
    entry = decode_entry(
        b'{"kind":"message_sent","conv_id":"c","seq":7,"sender":"ann","client_msg_id":"i","at":5,'
        b'"content":{"type":"text","text":"hi"},"mentions":[]}'
    )
    assert entry.messages == 0


def test_entries_without_a_history_rule_are_read() -> None:
    """Commands and entries of a version without the rule get ``since_join``."""
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
    """An unknown history rule is an error, not the default."""
    ids = b'"conv_id":"c","sender":"ann","client_msg_id":"i","members":[],"device_id":"d"'
    with pytest.raises(UndecodableRecord):
        decode_command(b'{"kind":"create_conversation",%b,"history":"some"}' % ids)


def test_the_json_schema_is_that_of_the_code() -> None:
    """The JSON schema files in the repository equal those generated from the code."""
    for name, text in schemas.json_schema.json_schemas().items():
        path = schemas.json_schema.FOLDER / name
        assert path.read_text(encoding="utf-8") == text, "run: python -m schemas.json_schema"


_COMMAND_SCHEMA: Final = jsonschema.Draft202012Validator(
    json.loads(schemas.json_schema.json_schemas()["command.schema.json"])
)


@given(commands)
def test_commands_are_valid_by_their_json_schema(command: AnyCommand) -> None:
    """Each encoded command is valid by the published JSON schema."""
    _COMMAND_SCHEMA.validate(json.loads(encode(command)))
