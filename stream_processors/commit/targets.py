"""The targets of sync records, which the lanes of a process share, for both layouts."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Consumer, Producer

from backends.sync_layout.layouts import Sharded, sync_layout
from backends.sync_layout.recipient_topics import RecipientTopics
from schemas.settings import Settings
from stream_processors.commit.newest_epoch import NewestEpoch
from stream_processors.commit.recipient_transaction import RecipientTransaction
from stream_processors.commit.transaction import Transaction
from stream_processors.commit.turns import LaneTurns


class Targets:
    """Makes the transactions of lanes.

    Args:
        settings: The settings of the deployment.
        changed: Called in any thread when lanes must check for a new epoch.
        check: Raises `FatalFailure` if the topics do not match the deployment.
    """

    def __init__(
        self,
        settings: Settings,
        changed: Callable[[], object],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.check = check
        self._settings = settings
        self._epoch: NewestEpoch | None = None
        self._topics: RecipientTopics | None = None
        if isinstance(sync_layout(settings), Sharded):
            self._epoch = NewestEpoch(settings, changed)
        else:
            self._topics = RecipientTopics(settings)

    def newest_epoch(self) -> int:
        """The epoch to which lanes switch."""
        return self._epoch.number if self._epoch else 0

    def transaction(
        self, partition: int, producer: Producer, group: Consumer, seat: LaneTurns
    ) -> Transaction:
        """The writer of a lane. Called when the lane owns its partition.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        own = self._settings, partition, producer, group.consumer_group_metadata, seat
        return RecipientTransaction(*own, self._topics) if self._topics else Transaction(*own)
