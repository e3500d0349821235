"""A client that publishes until it is killed: ``python -m tests.support.publish_for_ever OUTBOX``.

Prints the number of each batch as soon as the batch is queued.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from producers.publisher import Publisher
from schemas.records import AnyCommand
from schemas.settings import Settings
from tests.support.publishing import message

BATCH = 50
CONVERSATIONS = 6


def batch(number: int) -> list[AnyCommand]:
    """The commands of a batch, of two people in several conversations."""
    return [
        message(number * BATCH + n, f"conv {n % CONVERSATIONS}", ("ann", "陈")[n % 2])
        for n in range(BATCH)
    ]


def main(outbox: Path) -> None:
    """Publishes batch after batch, as fast as the outbox accepts them."""
    with Publisher(
        Settings(), "ann", "phone", outbox, window=None, done_when="accepted", capacity=10**6
    ) as publisher:
        for number in itertools.count():
            publisher.publish_many(batch(number))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
