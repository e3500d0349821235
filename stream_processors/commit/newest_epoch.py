"""The epoch to which the lanes of this process switch, from ``im.epochs``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaException

from backends.kafka.clients import LASTING_READER, REQUEST_SECONDS
from backends.kafka.epoch_log import EpochLog
from backends.kafka.topic_reading import assigned_consumer
from schemas.errors import ServerUnavailable
from schemas.number_types import FIRST_EPOCH
from schemas.settings import Settings

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.5
"""Interval of reads: the maximum delay until a lane learns of an epoch."""


class NewestEpoch:
    """Follows the declarations of epochs in its own thread, which ends with the process.

    Retries without limit while the broker does not answer: no lane can write then either.

    Args:
        settings: The settings of the deployment.
        changed: Called in the thread after `number` has grown.
    """

    def __init__(self, settings: Settings, changed: Callable[[], object]) -> None:
        self.number = FIRST_EPOCH
        """The newest known epoch."""
        self._settings = settings
        self._changed = changed
        threading.Thread(target=self._run, name="newest-epoch", daemon=True).start()

    def _run(self) -> None:
        consumer = assigned_consumer(self._settings, "epochs", LASTING_READER)
        followed = EpochLog(self._settings, consumer)
        while True:
            try:
                followed.follow(REQUEST_SECONDS)
            except (KafkaException, ServerUnavailable) as error:
                log.warning("the epochs cannot be read: %s", error)
            if followed.epochs.newest > self.number:
                self.number = followed.epochs.newest
                log.info("epoch %d is declared", self.number)
                self._changed()
            time.sleep(POLL_SECONDS)
