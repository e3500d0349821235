"""The AsyncAPI document: valid, and in agreement with the code and the pages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, get_args

from aiokafka.partitioner import murmur2
from jsonschema import Draft7Validator

from backends.kafka.clients import partition_of
from gateway.http.command_paths import COMMAND_ROUTES
from gateway.http.frames import PROTOCOL
from schemas.asyncapi.document import asyncapi_document, asyncapi_text
from schemas.asyncapi.live_channel import CLOSE_CODES
from schemas.asyncapi.topic_channels import MURMUR2_SEED
from schemas.dead_letters import ContentDigest, Origin, letter_headers
from schemas.number_types import Offset
from schemas.records import AnyCommand, AnyEntry, AnyReply
from schemas.topics import Topic
from tests.support.described import asyncapi_validator, message_of
from tests.unit.documents.test_wire_page import PAGE, examples

ROOT: Final = Path(__file__).parents[3]
OFFICIAL: Final = ROOT / "tests" / "support" / "asyncapi" / "3.0.0-without-$id.json"
INTERNAL: Final = {
    Topic.STATE,
    Topic.EPOCHS,
    Topic.DEPLOYMENT,
    Topic.CONTACTS,
    Topic.PUSH_DEVICES,
    Topic.PUSH_STATE,
    Topic.REPLAYS,
    Topic.LIVE,
    Topic.WEBHOOKS,
}
CHANNELS: Final = asyncapi_document()["channels"]


def test_the_document_is_valid() -> None:
    """The document conforms to the official schema of AsyncAPI 3.0, and its references exist."""
    official = json.loads(OFFICIAL.read_text(encoding="utf-8"))
    document = asyncapi_document()
    Draft7Validator(official).validate(document)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        found: Any = document
        for step in reference.split("/"):
            found = found[step]


def test_the_official_schema_refuses_wrong_documents() -> None:
    """The validation of the test before finds a fault in a part of the document."""
    official = Draft7Validator(json.loads(OFFICIAL.read_text(encoding="utf-8")))
    for path, wrong in (
        (("channels", "live", "bindings", "ws", "method"), "PUT"),
        (("channels", "sync", "messages", "Rejected", "bindings", "kafka", "key"), 7),
        (("components", "schemas", "Rejected", "type"), "record"),
        (("operations", "sendEntries", "action"), "write"),
    ):
        document: Any = json.loads(asyncapi_text())
        place = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = wrong
        assert not official.is_valid(document), path


def test_each_topic_is_a_channel_or_internal() -> None:
    """No topic of records for others is missing, and the page names the internal topics."""
    addresses = {channel["address"] for channel in CHANNELS.values()} - {"/v1/live"}
    assert addresses == {f"{{namespace}}.{t.spec.suffix}" for t in set(Topic) - INTERNAL}
    (internal,) = re.findall(r"^(`im\.state`.*) are internal", PAGE, re.MULTILINE)
    assert {f"im.{topic.spec.suffix}" for topic in INTERNAL} == set(
        re.findall(r"`([^`]+)`", internal)
    )


def test_each_kind_of_record_is_a_message() -> None:
    """A topic has a message for each kind of its records, and no other one."""
    for channel, union in (("messages", AnyCommand), ("timeline", AnyEntry)):
        assert set(CHANNELS[channel]["messages"]) == {kind.__name__ for kind in get_args(union)}
    on_sync = {kind.__name__ for kind in get_args(AnyEntry | AnyReply)} | {"Retracted"}
    assert set(CHANNELS["sync"]["messages"]) == on_sync


def test_the_examples_of_the_page_conform() -> None:
    """Each record on the page of the wire conforms to its message, and to no other."""
    for info, channel in (("json", "messages"), ("json entry", "timeline"), ("json sync", "sync")):
        for line in examples(info):
            record = json.loads(line)
            fitting = [
                message["name"]
                for key, message in CHANNELS[channel]["messages"].items()
                if asyncapi_validator(f"#/channels/{channel}/messages/{key}/payload").is_valid(
                    record
                )
            ]
            assert fitting == [record["kind"]]


def test_the_partitioner_is_that_of_the_producers() -> None:
    """The formula of the document gives the partition of each key."""
    shown = CHANNELS["messages"]["x-partitioner"]
    assert shown["seed"] == MURMUR2_SEED == 0x9747B28C
    assert shown["formula"] == "(murmur2(key) & 0x7fffffff) % number of partitions"
    for key in ("21", "项目", "a-little-bit-longer-string"):
        assert (murmur2(key.encode()) & 0x7FFFFFFF) % 8 == partition_of(key, 8)


def test_the_headers_of_dead_letters_are_those_of_the_code() -> None:
    """A dead letter of a record, and of a batch, has headers that conform to the document."""
    validator = asyncapi_validator(f"{message_of('deadLetters', 'dead_letter')}/headers")
    for last in (None, Offset(9)):
        made = letter_headers("s", "r", Origin("t", 0, Offset(1), last), ContentDigest(0, ""))
        validator.validate(
            {name: value.decode() for name, value in made if isinstance(value, bytes)}
        )
    described = CHANNELS["deadLetters"]["messages"]["deadLetter"]["headers"]
    assert set(described["properties"]) == {name for name, _ in made}


def test_a_live_request_has_the_body_of_any_command() -> None:
    """The document permits the body of each route that writes."""
    request = asyncapi_document()["components"]["schemas"]["LiveRequest"]
    described = request["properties"]["body"]["anyOf"]
    names = {each["$ref"].rpartition("/")[2] for each in described}
    assert names == {body.__name__ for *_, body in COMMAND_ROUTES}


def test_the_close_codes_are_those_of_the_page() -> None:
    """The document and the page of the gateway have the same codes, and the same subprotocol."""
    page = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| (\d{4}) \|", page, re.MULTILINE)) == set(CLOSE_CODES)
    assert CHANNELS["live"]["x-subprotocol"] == PROTOCOL
