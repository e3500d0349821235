"""A Kafka producer that sends only to the topics of one deployment.

The partition of a command depends on the partition count in the deployment's identity. So a
command always goes to the partition of its conversation's lane, even in the seconds after
partitions were added.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Producer

from backends.identity.log_identity import check_log
from backends.kafka.clients import partition_of
from schemas.deployment import Deployment
from schemas.errors import RetryableError
from schemas.settings import Settings
from schemas.topics import Topic

_log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 5.0
"""Interval of the checks while `poll` is called."""

ANSWER_SECONDS: Final = 3.0
CHECK_RETRY_SECONDS: Final = 0.5


class CheckedProducer:
    """Accepts no message before the first check has passed. A `producers.courier.KafkaProducer`.

    Args:
        settings: The deployment.
        producer: The producer that sends.
        check: Returns the checked identity of the deployment; raises as `check_log` does.
    """

    def __init__(
        self,
        settings: Settings,
        producer: Producer,
        check: Callable[[Settings, float], Deployment] = check_log,
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._check = check
        self._partitions = 0
        self._next_check = 0.0

    def produce(
        self, topic: str, *, value: bytes, key: bytes, on_delivery: Callable[[Any, Any], None]
    ) -> None:
        """Send a message; raise BufferError while the deployment is not checked."""
        if not self._partitions:
            raise BufferError("the deployment is not checked yet")
        partition = partition_of(key.decode(), self._partitions)
        self._producer.produce(
            topic, value=value, key=key, partition=partition, on_delivery=on_delivery
        )

    def poll(self, timeout: float) -> int:
        """Serve delivery reports, and check the deployment periodically.

        Raises:
            WrongDeployment: The topics are not those of the deployment.
            AccessRefused: The broker refuses the client.
        """
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + (
                CHECK_SECONDS if self._check_deployment() else CHECK_RETRY_SECONDS
            )
        return self._producer.poll(timeout)

    def purge(self) -> None:
        """Fail all queued and in-flight messages."""
        self._producer.purge()

    def _check_deployment(self) -> bool:
        try:
            deployment = self._check(self._settings, ANSWER_SECONDS)
        except RetryableError as error:
            _log.debug("the deployment was not checked: %s", error)
            return False
        self._partitions = deployment.topics[self._settings.topic(Topic.MESSAGES)].partitions
        return True
