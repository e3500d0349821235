"""A sequencer worker whose Kafka client loses records fetched before its lanes are ready.

A rebalance sometimes has this effect: Faust takes records from the client and drops them, and
without a committed offset it does not seek back. Here it happens in every rebalance.

    python -m tests.support.losing_worker
"""

from __future__ import annotations

from typing import Any

import faust
from aiokafka import TopicPartition

from schemas.settings import Settings
from stream_processors.faust_app.worker_app import make_worker


def main() -> None:
    """Runs until the process is stopped."""
    settings = Settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    app = make_worker(settings)

    async def lose(_app: Any, assigned: set[Any], **_: Any) -> None:
        client: Any = app.consumer._thread._ensure_consumer()  # type: ignore[attr-defined]  # noqa: SLF001
        loop = app.consumer._thread.thread_loop  # type: ignore[attr-defined]  # noqa: SLF001
        for place in assigned:
            partition = TopicPartition(place.topic, place.partition)
            loop.call_soon_threadsafe(client.seek, partition, 40)

    signal: Any = app.on_partitions_assigned
    signal.connect(lose)
    faust.Worker(app, loglevel=None, override_logging=False, quiet=True).execute_from_commandline()


if __name__ == "__main__":
    main()
