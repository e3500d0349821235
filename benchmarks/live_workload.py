"""The conversations of the benchmark of live connections."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

from schemas.ids import uuid7
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    SendMessage,
    TextContent,
)

CONNECTIONS: Final = 2_000
PUSHED: Final = 500
CHATS: Final = CONNECTIONS // 2
CROWD, GROUP, SLOW = "crowd", "group", "slow"
SLOW_CLIENTS: Final = 200
LARGE_MESSAGES: Final = 400
"""Messages of 8 KB for each client that does not read: more than all buffers of its connection."""


def live_commands() -> Iterator[AnyCommand]:
    """Makes all conversations, and the messages that the slow clients do not read."""
    people = [f"u{number}" for number in range(CONNECTIONS)]
    slow = [f"s{number}" for number in range(SLOW_CLIENTS)]
    numbers = itertools.count(1)

    def by(conv_id: str, sender: str) -> dict[str, Any]:
        return {
            "conv_id": conv_id, "sender": sender, "device_id": "bench",
            "client_msg_id": uuid7(next(numbers), 0),
        }  # fmt: skip

    for number in range(CHATS):
        one, other = people[2 * number : 2 * number + 2]
        yield CreateConversation(**by(f"chat-{number}", one), members=[other])
    for conv_id, members in ((CROWD, people), (GROUP, people[:PUSHED]), (SLOW, slow)):
        yield CreateConversation(**by(conv_id, members[0]), members=[])
        for first in range(0, len(members), PUSHED):
            yield AddMembers(**by(conv_id, members[0]), members=members[first : first + PUSHED])
    for _ in range(LARGE_MESSAGES):
        yield SendMessage(**by(SLOW, slow[0]), content=TextContent(text="x" * 8_000))
