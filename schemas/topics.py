"""Every topic, declared once. `im topics create` makes them; the broker never does by itself."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Final, NamedTuple

from schemas.lifetime import inactive_after

_WEEK_MS = 7 * 24 * 3600 * 1000
_FOREVER = "-1"

CONTACT: Final = b"{}"
"""The value of a record of ``contacts``. The key and the broker's time tell everything; without a
value, compaction would remove the record."""

_COMMON: Final = {
    # The broker's clock alone decides how old a record is: no process can make records expire
    # early, or have them refused, because its own clock is wrong.
    "message.timestamp.type": "LogAppendTime",
    "retention.bytes": _FOREVER,
    # A replica that lacks acknowledged records must not become the leader.
    "unclean.leader.election.enable": "false",
}
"""Settings of every topic, whatever the broker's own defaults are."""


def majority(replication: int) -> int:
    """The copies that must hold a record before it is acknowledged, the same as of Cassandra."""
    return replication // 2 + 1


class TopicSpec(NamedTuple):
    """How one topic is made. Durations in milliseconds, sizes in bytes.

    ``sharded_by_recipient``: has the sync partition count in place of the conversation's one.
    ``ordered``: has a single partition, because its records have one order.
    """

    suffix: str
    key: str
    sharded_by_recipient: bool
    config: dict[str, str]
    ordered: bool = False


class Topic(Enum):
    """The topics of a deployment; partition p of the first three belongs together."""

    MESSAGES = TopicSpec(
        "messages",
        "conv_id",
        sharded_by_recipient=False,
        config={
            "cleanup.policy": "delete",
            "retention.ms": str(_WEEK_MS),
            # Room for a command that is too large, so that it can be told so.
            "max.message.bytes": str(4 * 1024 * 1024),
        },
    )
    TIMELINE = TopicSpec(
        "timeline",
        "conv_id",
        sharded_by_recipient=False,
        # The log that the stores are made from, and audited against.
        config={"cleanup.policy": "delete", "retention.ms": _FOREVER},
    )
    STATE = TopicSpec(
        "state",
        "what the value replaces",
        sharded_by_recipient=False,
        config={"cleanup.policy": "compact", "segment.ms": str(6 * 3600 * 1000)},
    )
    # Of epoch 0, and where both layouts begin: see `backends.sync_layout`.
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
        # Read whole by everybody who starts: kept small.
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

    DEPLOYMENT = TopicSpec(
        "deployment",
        "the deployment's id",
        sharded_by_recipient=False,
        # The first record counts (`backends.deployment`), so none may ever go.
        config={"cleanup.policy": "delete", "retention.ms": _FOREVER},
        ordered=True,
    )
    # Who was in touch with a gateway, and when: see `schemas.lifetime`.
    CONTACTS = TopicSpec(
        "contacts",
        "user_id",
        sharded_by_recipient=False,
        # Read whole by each sync sink that starts: kept small. Its retention is the time after
        # which a recipient is inactive.
        config={"cleanup.policy": "compact,delete", "segment.ms": str(6 * 3600 * 1000)},
    )

    @property
    def spec(self) -> TopicSpec:
        """How the topic is made."""
        value: TopicSpec = self.value
        return value

    def config(self, replication: int, lifetime_ms: int) -> dict[str, str]:
        """The settings that the topic is made with, and that an existing topic has to have.

        Args:
            replication: Copies of each partition.
            lifetime_ms: Retention of sync records.
        """
        lifetime = timedelta(milliseconds=lifetime_ms)
        kept = {Topic.SYNC: lifetime, Topic.CONTACTS: inactive_after(lifetime)}.get(self)
        retention = {"retention.ms": str(kept // timedelta(milliseconds=1))} if kept else {}
        in_sync = {"min.insync.replicas": str(majority(replication))}
        return _COMMON | self.spec.config | retention | in_sync

    def name_in(self, namespace: str) -> str:
        """The topic's name in a deployment, such as ``im.messages``."""
        return f"{namespace}.{self.spec.suffix}"
