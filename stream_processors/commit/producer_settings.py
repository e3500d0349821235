"""The ids, the settings and the time limits of the sequencer's transactional producers."""

from __future__ import annotations

import secrets
from typing import Any, Final

from backends.kafka.clients import producer_config
from schemas.settings import Settings
from stream_processors.commit.turns import LONG_TURN

TRANSACTION_SECONDS: Final = 30.0
"""The broker aborts a transaction after this time, and no call waits longer. Some 100 times the
usual duration."""

COMMIT_LIMIT_SECONDS: Final = 2 * TRANSACTION_SECONDS
"""The watchdog ends the process when a lane's transaction takes longer. librdkafka ignores the
timeout of `send_offsets_to_transaction` while the group's coordinator is not connected:
https://github.com/confluentinc/librdkafka/issues/5456. By then the broker has aborted the
transaction."""

MAX_WRITTEN_BYTES: Final = 2 * 1024 * 1024
"""Maximum size of a record: a dead letter with its headers is by far the longest."""


def claimant_id(settings: Settings, partition: int) -> str:
    """The `transactional.id` of the producer that claims a source partition."""
    return f"{settings.group('sequencer')}-{partition}"


def new_writer_id(settings: Settings) -> str:
    """A `transactional.id` for a writer. No other writer has it."""
    return f"{settings.group('sequencer')}-writer-{secrets.token_hex(8)}"


def transactional_config(settings: Settings, transactional_id: str) -> dict[str, Any]:
    """Settings of the producer of a claimant or a writer."""
    return producer_config(settings) | {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": int(TRANSACTION_SECONDS * 1000),
        # No latency: a commit sends all remaining records. Until then the records of a partition
        # are batched, which makes a quarter of the requests of 5 ms, and a third less work for the
        # broker (ADR 2).
        "linger.ms": 1_000,
        # With the default of 100 ms, each commit waits for this time for the previous commit.
        "retry.backoff.ms": 5,
        "queue.buffering.max.messages": 8 * LONG_TURN.writes,
        "queue.buffering.max.kbytes": 64 * 1024,
        "batch.size": 512 * 1024,
        "message.max.bytes": MAX_WRITTEN_BYTES,
    }
