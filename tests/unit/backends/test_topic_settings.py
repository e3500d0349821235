"""Settings of existing topics: accepted and refused."""

from __future__ import annotations

import pytest

from backends.kafka.topic_settings import faults
from schemas.number_types import Milliseconds
from schemas.topics import Topic, majority

WEEK_MS = 7 * 24 * 3600 * 1000


def wanted(topic: Topic) -> dict[str, str]:
    """The settings of a topic in a deployment of three replicas."""
    return topic.config(replication=3, lifetime_ms=Milliseconds(WEEK_MS))


@pytest.mark.parametrize("topic", Topic)
def test_topic_settings_of_the_deployment_are_accepted(topic: Topic) -> None:
    """A topic made by this version has no faults."""
    assert faults(wanted(topic), wanted(topic)) == []


@pytest.mark.parametrize("topic", Topic)
def test_every_topic_has_the_brokers_time(topic: Topic) -> None:
    """Each topic has the broker's time, so no client's clock decides about expiry."""
    assert wanted(topic)["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize(
    ("topic", "setting", "value"),
    [
        (Topic.STATE, "cleanup.policy", "delete"),
        (Topic.STATE, "cleanup.policy", "compact,delete"),
        (Topic.EPOCHS, "cleanup.policy", "delete"),
        (Topic.TIMELINE, "cleanup.policy", "compact"),
        (Topic.TIMELINE, "retention.ms", str(WEEK_MS)),
        (Topic.TIMELINE, "retention.bytes", "1000000"),
        (Topic.SYNC, "retention.ms", str(WEEK_MS - 1)),
        (Topic.SYNC, "message.timestamp.type", "CreateTime"),
        (Topic.CONTACTS, "cleanup.policy", "compact"),
        (Topic.CONTACTS, "retention.ms", str(WEEK_MS)),
        (Topic.MESSAGES, "max.message.bytes", "1048588"),
        (Topic.MESSAGES, "min.insync.replicas", "1"),
        (Topic.DEPLOYMENT, "retention.ms", "3600000"),
        (Topic.DEAD_LETTER, "unclean.leader.election.enable", "true"),
    ],
)
def test_a_setting_that_can_lose_records_is_named(topic: Topic, setting: str, value: str) -> None:
    """A setting that can lose records is a fault with the actual and the required value."""
    (fault,) = faults(wanted(topic) | {setting: value}, wanted(topic))

    assert fault.startswith(f"{setting}={value} ")
    assert wanted(topic)[setting] in fault


@pytest.mark.parametrize(
    ("topic", "setting", "value"),
    [
        (Topic.SYNC, "retention.ms", "-1"),
        (Topic.SYNC, "retention.ms", str(WEEK_MS * 2)),
        (Topic.MESSAGES, "max.message.bytes", str(8 * 1024 * 1024)),
        (Topic.MESSAGES, "compression.type", "zstd"),
        (Topic.STATE, "segment.ms", "1000"),
        (Topic.CONTACTS, "cleanup.policy", "delete,compact"),
    ],
)
def test_a_setting_that_retains_more_is_accepted(topic: Topic, setting: str, value: str) -> None:
    """A longer retention, and a setting that loses nothing, are accepted."""
    assert faults(wanted(topic) | {setting: value}, wanted(topic)) == []


@pytest.mark.parametrize(("replication", "in_sync"), [(1, 1), (2, 2), (3, 2), (5, 3)])
def test_in_sync_replicas_follow_the_replication(replication: int, in_sync: int) -> None:
    """A record is acknowledged when a majority of its replicas has it."""
    assert majority(replication) == in_sync
    config = Topic.TIMELINE.config(replication, Milliseconds(WEEK_MS))
    assert config["min.insync.replicas"] == str(in_sync)
