"""Client settings for confluent-kafka, topics, and the partition of a key.

The settings differ from the library's defaults where a default loses or scatters records. A
comment next to each setting gives the reason.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from backends.kafka.kafka_security import security_config
from backends.kafka.key_hash import murmur2
from backends.kafka.topic_settings import check_settings
from backends.processes.minute_log import MinuteLog
from backends.processes.polling import poll_until
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.number_types import Milliseconds
from schemas.settings import Settings
from schemas.topics import Topic

_logger = logging.getLogger(__name__)
_library: Final = logging.getLogger("librdkafka")
_trouble: Final = MinuteLog(_logger)
"""Shared by all clients of a process, because all of them report the same condition."""

REQUEST_SECONDS: Final = 30.0
"""Timeout of one administrative request."""

LASTING_READER: Final = {"fetch.wait.max.ms": 500}
"""Settings of a consumer that lives as long as its process.

The broker answers an idle consumer twice a second, in place of 20 times. Requests for offsets wait
that long, which such a consumer makes only before it reads.
"""


def common_config(settings: Settings) -> dict[str, Any]:
    """Settings of every client: addresses, TLS and credentials, few log lines during an outage.

    Raises:
        ConfigurationError: A file of TLS cannot be used.
    """
    return security_config(settings) | {
        "bootstrap.servers": settings.kafka_bootstrap,
        "reconnect.backoff.max.ms": 2_000,  # reconnects soon after a broker restarts
        # By default the client writes several lines a second to the terminal. Here `error_cb`
        # receives the errors and logs one line a minute.
        "log_level": 0,
        "error_cb": report_trouble,
        "logger": _library,  # fatal errors, which the client otherwise writes to standard error
    }


def report_trouble(error: KafkaError) -> None:
    """Logs an error of a client, at most one line a minute."""
    _trouble.warning("Kafka: %s", error.str())


def producer_config(settings: Settings) -> dict[str, Any]:
    """Settings of every producer: no duplicates by retries, the partitioner of Java clients."""
    return common_config(settings) | {
        "enable.idempotence": True,
        "acks": "all",  # by at least `min.insync.replicas` replicas
        "partitioner": "murmur2_random",  # the default, CRC32, differs from all other clients
        "compression.type": "lz4",
    }


def consumer_config(settings: Settings, group: str) -> dict[str, Any]:
    """Settings of every consumer: from the beginning, committed records only, explicit commits."""
    return common_config(settings) | {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",  # the default skips records from before the first start
        "isolation.level": "read_committed",
        # A broker answers the requests of one connection in order. With the default of 500 ms, a
        # request for offsets or partitions waits that long behind an empty fetch: a follower opens
        # in 1.6 s in place of 0.2 s. A fetch returns at the first record in both cases.
        # The end of a partition is reported after this time, too.
        "fetch.wait.max.ms": 50,
    }


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key, by the murmur2 of all Java and murmur2_random clients."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def admin_client(settings: Settings) -> AdminClient:
    """A client for topics, groups and offsets."""
    return AdminClient(common_config(settings))


def new_topics(settings: Settings) -> list[NewTopic]:
    """All topics of a deployment, as the creation requests need them."""
    return [
        NewTopic(
            settings.topic(topic),
            num_partitions=_partitions(settings, topic),
            replication_factor=settings.replication,
            config=_config(settings, topic),
        )
        for topic in Topic
    ]


def _partitions(settings: Settings, topic: Topic) -> int:
    if topic.spec.ordered:
        return 1
    return settings.sync_partitions if topic.spec.sharded_by_recipient else settings.partitions


def sync_topic(settings: Settings, name: str, partitions: int) -> NewTopic:
    """A topic of sync records with their lifetime as retention, for a creation request."""
    return NewTopic(
        name,
        num_partitions=partitions,
        replication_factor=settings.replication,
        config=_config(settings, Topic.SYNC),
    )


def _config(settings: Settings, topic: Topic) -> dict[str, str]:
    lifetime_ms = Milliseconds(int(settings.sync_lifetime.total_seconds() * 1000))
    return topic.config(settings.replication, lifetime_ms)


def create_topics(settings: Settings, timeout: float = REQUEST_SECONDS) -> list[str]:
    """Creates the missing topics, and waits until each partition has a leader.

    Returns:
        The names of the topics that this call created.

    Raises:
        ConfigurationError: A topic exists with another number of partitions, or with settings
            that can lose or refuse records.
        ServerUnavailable: The broker did not answer, or a leader did not come up, in time.
    """
    return make_topics(admin_client(settings), new_topics(settings), timeout)


def make_topics(
    admin: AdminClient, topics: Sequence[NewTopic], timeout: float = REQUEST_SECONDS
) -> list[str]:
    """Creates the missing ones among the given topics. Otherwise as `create_topics`."""
    wanted = {topic.topic: topic for topic in topics}
    created = []
    futures = admin.create_topics(list(wanted.values()), request_timeout=timeout)
    for name, future in futures.items():
        try:
            future.result(timeout)
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ServerUnavailable(f"topic {name} was not created: {error}") from error
        except TimeoutError as error:
            raise ServerUnavailable(f"Kafka did not answer within {timeout:.0f} s") from error
    there = [topic for name, topic in wanted.items() if name not in created]
    _await_leaders(admin, {name: topic.num_partitions for name, topic in wanted.items()}, timeout)
    check_settings(admin, there, timeout)
    return created


def _await_leaders(admin: AdminClient, wanted: dict[str, int], timeout: float) -> None:
    waiting = poll_until(
        lambda: _without_leaders(admin, wanted), timeout, done=operator.not_, pause=0.05
    )
    if waiting:
        raise ServerUnavailable(f"no leader within {timeout:.0f} s for {sorted(waiting)}")


def _without_leaders(admin: AdminClient, wanted: dict[str, int]) -> set[str]:
    """The topics of which a partition has no leader yet."""
    try:
        topics = admin.list_topics(timeout=5).topics
    except KafkaException as error:
        raise ServerUnavailable(f"the broker does not answer: {error}") from error
    waiting = set(wanted)
    for name in wanted.keys() & topics.keys():
        partitions = topics[name].partitions
        if partitions and len(partitions) != wanted[name]:
            raise ConfigurationError(
                f"topic {name} has {len(partitions)} partitions, the settings say "
                f"{wanted[name]}: change the settings, or use another IM_NAMESPACE"
            )
        if partitions and all(p.leader >= 0 for p in partitions.values()):
            waiting.remove(name)
    return waiting


def topic_partitions(settings: Settings, topic: Topic) -> list[TopicPartition]:
    """All partitions of a topic of this deployment."""
    name = settings.topic(topic)
    return [TopicPartition(name, p) for p in range(_partitions(settings, topic))]
