"""Topics of recipients: the people who get a topic, and the maximum number of topics."""

from __future__ import annotations

import pytest

from backends.kafka.clients import admin_client, create_topics
from backends.sync_layout.recipient_topics import make_recipients
from backends.sync_layout.topic_creation import prepare_topics
from consumers.cursor import MemoryCursors
from ops.commands.reshard import declare_epoch
from schemas.errors import ConfigurationError
from schemas.ids import uuid7
from schemas.records import AddMembers, MessageSent, Rejected
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.commands import growing_group, message
from tests.support.following import follow, so_many
from tests.support.pipeline import im
from tests.support.processes import running, wait_until
from tests.support.topics import is_caught_up, publish, sync_timelines, timelines

pytestmark = pytest.mark.servers


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment with room for three topics."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, sync_layout="topic-per-recipient", sync_topics_limit=3
    )
    create_topics(settings)
    return settings


def owners(settings: Settings) -> set[str]:
    """The people who have a topic."""
    prefix = settings.topic(Topic.SYNC) + "."
    names = admin_client(settings).list_topics(timeout=10).topics
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def add(number: int, sender: str, members: list[str]) -> AddMembers:
    """A command that adds people."""
    return AddMembers(
        conv_id="c1", sender=sender, device_id="d", client_msg_id=uuid7(10_000 + number, 0),
        members=members,
    )  # fmt: skip


def test_only_members_receive_topics_up_to_the_limit(settings: Settings) -> None:
    """Only members get topics; an addition above the limit is rejected, other commands continue.

    Strangers get no topic, and cause none. A new worker finds the topics that the previous worker
    created.
    """
    publish(settings, growing_group(2))
    publish(settings, [message(1, "eve"), add(2, "eve", ["x", "y"])])
    publish(settings, [add(2, "u0", ["x", "y"]), add(3, "u0", ["x"]), message(9_004)])
    with running(settings, "stream_processors"):
        wait_until(lambda: is_caught_up(settings, "sequencer", Topic.MESSAGES), "sequenced")
    assert owners(settings) == {"u0", "u1", "x"}
    publish(settings, [message(9_005), add(6, "u0", ["y"])])
    with running(settings, "stream_processors"):
        wait_until(lambda: is_caught_up(settings, "sequencer", Topic.MESSAGES), "sequenced")
        refused = [r for r in sync_timelines(settings)["u0"] if isinstance(r, Rejected)]
        assert [reply.code for reply in refused] == ["no_room", "no_room"]
        codes = [r.code for r in sync_timelines(settings)["eve"] if isinstance(r, Rejected)]
        assert codes == ["not_a_member", "not_a_member"]
        logged = timelines(settings)["c1"]
        assert [entry.seq for entry in logged] == [1, 2, 3, 4, 5]
        assert isinstance(logged[-1], MessageSent)
        got = follow(settings, "x", MemoryCursors(), so_many(3))
    assert [item.record for item in got] == logged[2:]
    assert owners(settings) == {"u0", "u1", "x"}


def test_a_service_can_receive_its_topic_in_advance(settings: Settings) -> None:
    """`im topics create --recipient` creates a topic in advance, once, and within the limit."""
    created = im(settings, "topics", "create", "--recipient", "bot", "--recipient", "a b")
    assert {line["created"].split(".")[-1] for line in created} >= {"bot", "a_20b"}
    assert owners(settings) == {"bot", "a_20b"}
    make_recipients(settings, ["bot", "c"])
    with pytest.raises(ConfigurationError, match="IM_SYNC_TOPICS_LIMIT"):
        make_recipients(settings, ["d"])
    assert owners(settings) == {"bot", "a_20b", "c"}
    sharded = settings.model_copy(update={"sync_layout": "sharded"})
    with pytest.raises(ConfigurationError, match="nobody has a topic"):
        make_recipients(sharded, ["e"])


def test_a_deployment_does_not_change_its_layout(servers: Servers, settings: Settings) -> None:
    """A deployment refuses the other layout before anything is written."""
    make_recipients(settings, ["bot"])
    with pytest.raises(ConfigurationError, match="IM_SYNC_LAYOUT"):
        prepare_topics(settings.model_copy(update={"sync_layout": "sharded"}))
    other = servers.settings(partitions=1, sync_partitions=1)
    create_topics(other)
    declare_epoch(other, 2)
    with pytest.raises(ConfigurationError, match="IM_SYNC_LAYOUT"):
        prepare_topics(other.model_copy(update={"sync_layout": "topic-per-recipient"}))
