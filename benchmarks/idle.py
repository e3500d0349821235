"""The memory that an idle conversation takes: ``python -m benchmarks.idle``. Needs no servers.

One lane holds conversations of two people with a message each. The memory is measured after a
restore, and again after each conversation was used once. The growth of the process is divided by
the number of conversations. It includes the bytes of the conversations, the table that holds them,
and the overhead of Python and the allocator.
"""

from __future__ import annotations

import gc
from typing import Final

import psutil

from benchmarks.restore import copies, name_of
from stream_processors.state.conversations import BUSY_CONVERSATIONS, Conversations
from stream_processors.state.gathering import Gathering

CONVERSATIONS: Final = 300_000


def main() -> None:
    """Prints both figures."""
    conversations = Conversations()
    before = _resident()
    gathering = Gathering(conversations)
    for _, records in copies(CONVERSATIONS):
        for key, value in records:
            gathering.take(key, value)
    gathering.hand_over()
    _tell("restored", conversations, before)
    busy = CONVERSATIONS - BUSY_CONVERSATIONS
    for number in range(CONVERSATIONS):
        conversations.get(name_of(number))
    _tell(f"used ({BUSY_CONVERSATIONS:,} are busy)", conversations, before)
    assert conversations.idle_count == busy  # noqa: S101 - otherwise the figures are wrong


def _tell(what: str, conversations: Conversations, before: int) -> None:
    gc.collect()
    grown = (_resident() - before) / CONVERSATIONS
    held = conversations.idle_bytes / conversations.idle_count
    print(f"{what}: {grown:.0f} bytes for each conversation, {held:.0f} of them its own")


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
