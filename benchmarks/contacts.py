"""Records contacts for a share of a chat log's people, so that a load has inactive recipients.

    python -m benchmarks.contacts FILE --share 0.1

Needs a running deployment. A hash of the person's id decides, so each run chooses the same people.
With ``IM_SKIP_INACTIVE=true``, a later load writes rows for these people only.
"""

from __future__ import annotations

import zlib
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path

from confluent_kafka import Producer

from backends.kafka.clients import producer_config
from benchmarks.workload import FLUSH_SECONDS
from ops.deployment.running import live_settings
from ops.load.source import open_log
from schemas.settings import Settings
from schemas.topics import CONTACT, Topic


def chosen(people: Iterable[str], share: float) -> list[str]:
    """A share of some people.

    Args:
        people: The ids of the people.
        share: From 0 (nobody) to 1 (everybody).
    """
    return [user for user in people if zlib.crc32(user.encode()) < share * 2**32]


def append_contacts(settings: Settings, users: Iterable[str]) -> None:
    """Appends a contact of each person.

    Raises:
        TimeoutError: The broker did not take all contacts in time.
    """
    producer = Producer(producer_config(settings) | {"queue.buffering.max.messages": 10_000_000})
    for user in users:
        producer.produce(settings.topic(Topic.CONTACTS), CONTACT, user.encode())
    if producer.flush(FLUSH_SECONDS):
        raise TimeoutError(f"the broker did not take all contacts in {FLUSH_SECONDS:.0f} s")


def main() -> None:
    """Appends the contacts and prints their number."""
    parser = ArgumentParser(description="Note a contact of a share of the people of a chat log.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--share", type=float, default=0.1)
    options = parser.parse_args()
    with open_log(options.file) as log:
        people = sorted({line.user for line in log})
    active = chosen(people, options.share)
    append_contacts(live_settings(), active)
    print(f"{len(active)} of {len(people)} people are active")


if __name__ == "__main__":
    main()
