"""Damages that only an incorrect sequencer or a foreign writer makes, named on real servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from audit.report import Difference
from backends.cassandra.session import cassandra_session
from backends.elasticsearch.index import elasticsearch_client
from schemas.codec import encode
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.records import (
    AnyCommand,
    AnyEntry,
    CreateConversation,
    MembersAdded,
    MessageRecalled,
    MessageSent,
    SendMessage,
    TextContent,
)
from schemas.topics import Topic
from tests.support.auditing import SMALL_LIMITS_AS_SETTINGS, report_on
from tests.support.deployed import append, commit, deploy
from tests.support.servers import Servers

pytestmark = pytest.mark.servers

TEXT: Final = TextContent(text="hello")


def _by(sender: str, number: int) -> dict[str, Any]:
    return {"conv_id": "c", "sender": sender, "client_msg_id": uuid7(1_000 + number, 0)}


def _command(sender: str, number: int) -> dict[str, Any]:
    return _by(sender, number) | {"device_id": "d"}


STEPS: Final[list[AnyCommand]] = [
    CreateConversation(**_command("ann", 1), members=["bob", "cat"], join="invite"),
    SendMessage(**_command("bob", 2), content=TEXT),
]
"""A conversation of three people with one message: entries 1 to 3."""


def _found(
    servers: Servers, topic: Topic, values: Sequence[AnyEntry | AnyCommand]
) -> list[Difference]:
    """The differences of a consistent deployment with additional records on a topic."""
    settings = servers.settings(partitions=1, sync_partitions=1, **SMALL_LIMITS_AS_SETTINGS)
    with cassandra_session(settings) as session, elasticsearch_client(settings) as search:
        deploy(settings, session, search, STEPS)
        assert report_on(settings, 10.0).differences == []
        append(settings, topic, [("c", encode(value)) for value in values])
        commit(settings)
        found = report_on(settings, 10.0).differences
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)
        search.indices.delete(index=list(search.indices.get_alias(name=settings.index_alias)))
    return found


def _entry(sender: str, number: int, seq: int, messages: int) -> dict[str, Any]:
    return _by(sender, number) | {"seq": seq, "at": 9_000_000_000_000, "messages": messages}


TWICE: Final = [
    MessageSent(**_entry("ann", 3, 4, 2), content=TEXT, mentions=[]),
    MessageSent(**_entry("ann", 3, 5, 3), content=TEXT, mentions=[]),
]
BY_ANOTHER: Final = [
    MessageRecalled(**_entry("cat", 3, 4, 1), target=SeqId(3), target_at=Milliseconds(1), edits=[])
]
BY_ITSELF: Final = [MembersAdded(**_entry("eve", 3, 4, 1), members=["eve"], mode="push")]


@pytest.mark.parametrize(
    ("entries", "kind", "seq"),
    [
        (TWICE, "id_repeated", 5),
        (BY_ANOTHER, "no_right_to_recall", 4),
        (BY_ITSELF, "no_right_to_add", 4),
    ],
    ids=["one id twice, side by side", "a recall by another person", "a stranger enters"],
)
def test_an_entry_that_breaks_a_rule_is_named(
    servers: Servers, entries: Sequence[AnyEntry], kind: str, seq: int
) -> None:
    """An entry that breaks a rule is named, although the SeqIds have no gap."""
    found = _found(servers, Topic.TIMELINE, entries)

    assert ("log", kind, "c", seq) in [(d.check, d.kind, d.conv_id, d.seq) for d in found]


def test_a_command_without_an_outcome_is_named(servers: Servers) -> None:
    """A command that the sequencer passed without an entry or a reply is named."""
    lost = SendMessage(**_command("ann", 3), content=TEXT)

    found = _found(servers, Topic.MESSAGES, [lost])

    assert [(d.check, d.kind, d.conv_id, d.user) for d in found] == [
        ("input", "missing", "c", "ann")
    ]
