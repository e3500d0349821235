"""A sequencer worker whose Kafka client loses its coordination task after some seconds.

python -m tests.support.ending_worker
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import faust
from aiokafka.consumer import group_coordinator

from schemas.settings import Settings
from stream_processors.faust_app.worker_app import make_worker

_AFTER_SECONDS: Final = 3.0


async def _end(_coordinator: Any) -> None:
    await asyncio.sleep(_AFTER_SECONDS)
    raise AssertionError("as in the client, after a broker stood still")


def main() -> None:
    """Runs until the process is stopped."""
    name = "_GroupCoordinator__coordination_routine"
    setattr(group_coordinator.GroupCoordinator, name, _end)
    settings = Settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    app = make_worker(settings)
    faust.Worker(app, loglevel=None, override_logging=False, quiet=True).execute_from_commandline()


if __name__ == "__main__":
    main()
