"""The people with an active live connection, as the log has them."""

from __future__ import annotations

from schemas.settings import Settings
from schemas.topics import Topic
from schemas.user_keys import user_part_of
from tests.support.topics import read_all


def gateways_of_live(settings: Settings, user: str) -> set[str]:
    """The gateways whose newest record says that a person is live."""
    found: dict[str, bytes | None] = {}
    for message in read_all(settings, Topic.LIVE):  # in the order of the log
        key = user_part_of(message.key())
        if key.user == user:
            found[key.part] = message.value()
    return {gateway for gateway, value in found.items() if value is not None}
