"""All topics. `im topics create` creates them; the broker never creates topics by itself."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Final, NamedTuple

from schemas.lifetime import inactive_after
from schemas.live_people import LIVE_RETENTION
from schemas.number_types import Milliseconds

_WEEK_MS = 7 * 24 * 3600 * 1000
_FOREVER = "-1"

CONTACT: Final = b"{}"
"""The value of a record of ``contacts``. The key and the broker's time are the whole information;
compaction would remove a record with a null value."""

_COMMON: Final = {
    # Only the broker's clock determines the age of a record, so a process with a wrong clock
    # cannot cause early expiry or refused records.
    "message.timestamp.type": "LogAppendTime",
    "retention.bytes": _FOREVER,
    # A replica that lacks acknowledged records must not become the leader.
    "unclean.leader.election.enable": "false",
}
"""Settings of every topic, independent of the broker's defaults."""


def majority(replication: int) -> int:
    """The number of copies that acknowledge a write, the same in Kafka and in Cassandra."""
    return replication // 2 + 1


class TopicSpec(NamedTuple):
    """The specification of one topic. Durations in milliseconds, sizes in bytes.

    ``sharded_by_recipient``: the topic has `Settings.sync_partitions` partitions, not
    `Settings.partitions`. ``ordered``: the topic has a single partition, because its records have
    one order.
    """

    suffix: str
    key: str
    sharded_by_recipient: bool
    config: dict[str, str]
    ordered: bool = False


class Topic(Enum):
    """The topics of a deployment.

    Partition n of ``messages``, ``timeline`` and ``state`` has the same conversations.
    """

    MESSAGES = TopicSpec(
        "messages",
        "conv_id",
        sharded_by_recipient=False,
        config={
            "cleanup.policy": "delete",
            "retention.ms": str(_WEEK_MS),
            # Room for a command above the size limit, so that its sender gets a rejection.
            "max.message.bytes": str(4 * 1024 * 1024),
        },
    )
    TIMELINE = TopicSpec(
        "timeline",
        "conv_id",
        sharded_by_recipient=False,
        # The stores are built from this log, and audited against it.
        config={"cleanup.policy": "delete", "retention.ms": _FOREVER},
    )
    STATE = TopicSpec(
        "state",
        "what the value replaces",
        sharded_by_recipient=False,
        config={"cleanup.policy": "compact", "segment.ms": str(6 * 3600 * 1000)},
    )
    # The topic of epoch 0, with which both layouts begin: see `backends.sync_layout.layouts`.
    SYNC = TopicSpec(
        "sync",
        "recipient",
        sharded_by_recipient=True,
        config={"cleanup.policy": "delete"},  # its retention is the setting sync_lifetime
    )
    EPOCHS = TopicSpec(
        "epochs",
        "what the value replaces",
        sharded_by_recipient=False,
        # Each process reads the whole topic at its start, so the topic must be small.
        config={"cleanup.policy": "compact", "segment.ms": str(3600 * 1000)},
        ordered=True,
    )
    DEAD_LETTER = TopicSpec(
        "dead-letter",
        "that of the source record",
        sharded_by_recipient=False,
        config={
            "cleanup.policy": "delete",
            "retention.ms": str(4 * _WEEK_MS),
            "max.message.bytes": str(5 * 1024 * 1024),
        },
    )

    # The states of notifications that wait, see `sinks.push.push_state`.
    PUSH_STATE = TopicSpec(
        "push-state",
        "user_id and conv_id",
        sharded_by_recipient=False,
        # The push stage reads the whole topic when it takes shards over. So the topic must be
        # small: most records are replaced within seconds. A reader must see a record without a
        # value before it is removed: a restore takes less than the retention of such records.
        config={
            "cleanup.policy": "compact",
            "segment.ms": str(10 * 60 * 1000),
            "segment.bytes": str(32 * 1024 * 1024),
            "delete.retention.ms": str(3600 * 1000),
        },
    )
    # Requests to deliver notifications and events of dead letters again: see `schemas.replays`.
    REPLAYS = TopicSpec(
        "replays",
        "the stage and the dead letter",
        sharded_by_recipient=False,
        # A request and its end are needed for as long as their dead letter exists.
        config={
            "cleanup.policy": "compact,delete",
            "retention.ms": str(5 * _WEEK_MS),
            "segment.ms": str(24 * 3600 * 1000),
        },
        ordered=True,
    )
    DEPLOYMENT = TopicSpec(
        "deployment",
        "the deployment's id",
        sharded_by_recipient=False,
        # The first record counts (`backends.identity.log_identity`), so no record may expire.
        config={"cleanup.policy": "delete", "retention.ms": _FOREVER},
        ordered=True,
    )
    # The times of people's contacts with a gateway: see `schemas.lifetime`.
    CONTACTS = TopicSpec(
        "contacts",
        "user_id",
        sharded_by_recipient=False,
        # Each sync sink reads the whole topic at its start, so the topic must be small. The
        # retention is the time after which a recipient is inactive.
        config={"cleanup.policy": "compact,delete", "segment.ms": str(6 * 3600 * 1000)},
    )
    # The push addresses of devices: see `schemas.push_devices`. The topic alone has them.
    PUSH_DEVICES = TopicSpec(
        "push-devices",
        "user_id and device_id",
        sharded_by_recipient=False,
        config={
            "cleanup.policy": "compact",
            "segment.ms": str(6 * 3600 * 1000),
            # A removed address is a secret, so the broker erases it in bounded time.
            "max.compaction.lag.ms": str(24 * 3600 * 1000),
        },
    )
    # The people with a live connection: see `schemas.live_people`.
    LIVE = TopicSpec(
        "live",
        "user_id and gateway",
        sharded_by_recipient=False,
        # Not compacted: a record counts for a minute, and a reader begins at records of this age.
        config={
            "cleanup.policy": "delete",
            "retention.ms": str(LIVE_RETENTION // timedelta(milliseconds=1)),
            "segment.ms": str(10 * 60 * 1000),
        },
    )
    # Subscriptions of integrators, with the secrets that sign their events.
    WEBHOOKS = TopicSpec(
        "webhooks",
        "the subscription's id",
        sharded_by_recipient=False,
        # The stage and `im webhook` read the whole topic, so the topic must be small.
        config={"cleanup.policy": "compact", "segment.ms": str(3600 * 1000)},
        ordered=True,
    )

    @property
    def spec(self) -> TopicSpec:
        """The specification of the topic."""
        value: TopicSpec = self.value
        return value

    def config(self, replication: int, lifetime_ms: Milliseconds) -> dict[str, str]:
        """The settings of a new topic, which an existing topic must have as well.

        Args:
            replication: Copies of each partition.
            lifetime_ms: Retention of sync records.
        """
        lifetime = timedelta(milliseconds=lifetime_ms)
        minimum = {Topic.SYNC: lifetime, Topic.CONTACTS: inactive_after(lifetime)}.get(self)
        retention = {"retention.ms": str(minimum // timedelta(milliseconds=1))} if minimum else {}
        in_sync = {"min.insync.replicas": str(majority(replication))}
        return _COMMON | self.spec.config | retention | in_sync

    def name_in(self, namespace: str) -> str:
        """The topic's name in a deployment, such as ``im.messages``."""
        return f"{namespace}.{self.spec.suffix}"
