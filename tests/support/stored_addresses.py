"""The push addresses that a deployment has."""

from __future__ import annotations

import json
from typing import Any, Final

from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.topics import read_all

BROWSER_POINT: Final = (
    "BDMYFFQSJy0nES6WFABRLg2dmfHeYQ7Npmbfj6aoGTYgZlaOWNjVFvLC-0IXkrQE0F0k-QXVePU0oHAXrUFxk6I"
)
"""A point of P-256, the key of a browser."""


def stored_addresses(settings: Settings, user: str) -> dict[str, dict[str, Any]]:
    """The newest address of each device of a person, by the id of the device."""
    found: dict[str, dict[str, Any]] = {}
    for message in read_all(settings, Topic.PUSH_DEVICES):  # in the order of the log
        owner, device_id = (message.key() or b"").decode().split("\n")
        value = message.value()
        if owner != user:
            continue
        if value is None:
            found.pop(device_id, None)
        else:
            found[device_id] = json.loads(value)["address"]
    return found
