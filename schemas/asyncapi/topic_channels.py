"""The topics in the AsyncAPI document: keys, partitions, records, and headers of dead letters."""

from __future__ import annotations

from typing import Any, Final, get_args

from schemas.asyncapi.draft_7 import schema_reference
from schemas.limits import MAX_REASON_LENGTH
from schemas.records import AnyCommand, AnyEntry, AnyReply, Retracted
from schemas.topics import Topic

TOPIC_RECORDS: Final = (
    *get_args(AnyCommand), *get_args(AnyEntry), *get_args(AnyReply), Retracted,
)  # fmt: skip
"""The structs of all records on these topics."""

MURMUR2_SEED: Final = 0x9747B28C

_FORMULA: Final = "(murmur2(key) & 0x7fffffff) % number of partitions"
_NAMESPACE: Final = {"default": "im", "description": "The value of IM_NAMESPACE."}
_CONVERSATION_KEY: Final = {
    "type": "string",
    "minLength": 1,
    "description": "The conv_id of the record, in UTF-8 without any framing.",
}
_RECIPIENTS_KEY: Final = {
    "type": "string",
    "minLength": 1,
    "description": "The ids of the recipients in UTF-8, separated by one line feed.",
}
_SOURCE_KEY: Final = {
    "type": ["string", "null"],
    "description": "The key of the record that became a dead letter; null if it has more than "
    "1,024 bytes. Not always UTF-8.",
}
_HEADERS: Final = {
    "stage": "The stage that made the dead letter, such as sequencer or sink-message.",
    "reason": "The cause, without any content of the record.",
    "topic": "The topic of the record.",
    "partition": "The partition of the record.",
    "offset": "The offset of the record, or the first offset of a batch.",
    "last_offset": "Only for a whole batch: its last offset.",
    "size": "Bytes of the value; for a batch, its bytes as the broker stores it.",
    "sha256": "Digest of the value or of the batch, in hexadecimal; empty for a null value.",
}
_PATTERNS: Final = {
    "partition": "^[0-9]+$",
    "offset": "^[0-9]+$",
    "last_offset": "^[0-9]+$",
    "size": "^[0-9]+$",
    "sha256": "^([0-9a-f]{64})?$",
}


def topic_channels() -> dict[str, Any]:
    """The channels of the topics, by name."""
    return {
        "messages": _channel(
            Topic.MESSAGES,
            "Commands. A record on another partition than that of its key becomes a dead letter "
            "with the reason wrong_partition. The time of a command is the broker's timestamp.",
            _records(get_args(AnyCommand), _CONVERSATION_KEY),
            _partitioner("the conv_id of the record"),
        ),
        "timeline": _channel(
            Topic.TIMELINE,
            "Entries. The seq of the entries of a conversation is 1, 2, 3 … without holes.",
            _records(get_args(AnyEntry), _CONVERSATION_KEY),
            _partitioner("the conv_id of the record"),
        ),
        "sync": _channel(
            Topic.SYNC,
            "Sync records: entries, byte for byte as on the timeline, and replies. This is the "
            "topic of epoch 0; later epochs have {namespace}.sync-1, {namespace}.sync-2 and so "
            "on. With the layout topic-per-recipient, each recipient has {namespace}.sync."
            "<recipient>. The sync SeqId of a record is (epoch << 48) | offset.",
            _records((*get_args(AnyEntry), *get_args(AnyReply), Retracted), _RECIPIENTS_KEY),
            _partitioner("the id of each recipient, not the key of the record"),
        ),
        "deadLetters": _channel(
            Topic.DEAD_LETTER,
            "Records that a stage could not handle, or references to them.",
            {"deadLetter": _dead_letter()},
            {},
        ),
    }


def topic_operations() -> dict[str, Any]:
    """The operations of the deployment on the topics, by name."""
    return {
        name: {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}
        for name, action, channel, summary in (
            ("receiveCommands", "receive", "messages", "The sequencer decides each command."),
            ("sendEntries", "send", "timeline", "The sequencer writes accepted commands."),
            ("sendSyncRecords", "send", "sync", "The sequencer fans entries and replies out."),
            ("sendDeadLetters", "send", "deadLetters", "Every stage writes dead letters."),
        )
    }


def _channel(
    topic: Topic, description: str, messages: dict[str, Any], more: dict[str, Any]
) -> dict[str, Any]:
    return {
        "address": f"{{namespace}}.{topic.spec.suffix}",
        "description": description,
        "servers": [{"$ref": "#/servers/kafka"}],
        "parameters": {"namespace": _NAMESPACE},
        "messages": messages,
        "bindings": {
            "kafka": {
                "topicConfiguration": _configuration(topic.spec.config),
                "bindingVersion": "0.5.0",
            }
        },
        **more,
    }


def _configuration(config: dict[str, str]) -> dict[str, Any]:
    """The settings of the topic that are the same in every deployment."""
    return {
        name: value.split(",") if name == "cleanup.policy" else int(value)
        for name, value in config.items()
    }


def _partitioner(key: str) -> dict[str, Any]:
    return {
        "x-partitioner": {
            "hash": "murmur2",
            "seed": MURMUR2_SEED,
            "formula": _FORMULA,
            "key": f"the UTF-8 bytes of {key}",
        }
    }


def _records(kinds: tuple[Any, ...], key: dict[str, Any]) -> dict[str, Any]:
    """The messages of a topic, by the names of their schemas."""
    return {
        kind.__name__: {
            "name": kind.__struct_config__.tag,
            "payload": schema_reference(kind.__name__),
            "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
        }
        for kind in kinds
    }


def _dead_letter() -> dict[str, Any]:
    fields: dict[str, dict[str, Any]] = {
        name: {"type": "string", "description": described}
        | ({"pattern": _PATTERNS[name]} if name in _PATTERNS else {})
        for name, described in _HEADERS.items()
    }
    fields["reason"]["maxLength"] = MAX_REASON_LENGTH
    return {
        "name": "dead_letter",
        "contentType": "application/octet-stream",
        "summary": "From the sequencer, the value of the record if it has at most 1 MiB; "
        "otherwise, and always from a sink, no value.",
        "headers": {
            "type": "object",
            "properties": fields,
            "required": [name for name in _HEADERS if name != "last_offset"],
            "additionalProperties": False,
        },
        "payload": {"description": "The bytes of the record, or null."},
        "bindings": {"kafka": {"key": _SOURCE_KEY, "bindingVersion": "0.5.0"}},
    }
