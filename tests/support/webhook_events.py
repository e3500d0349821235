"""Entries on the timeline for webhooks, and the events that a receiver acknowledged."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from schemas.codec import encode
from schemas.records import AnyEntry
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.receiving import Received, Receiver
from tests.support.topics import publish_raw


def append_entries(settings: Settings, entries: Iterable[AnyEntry]) -> None:
    """Appends entries to the timeline, as the sequencer does."""
    publish_raw(
        settings, [(each.conv_id.encode(), encode(each)) for each in entries], Topic.TIMELINE
    )


def data_of(request: Received) -> dict[str, Any]:
    """The data of an event."""
    data: dict[str, Any] = json.loads(request.body)["data"]
    return data


def acknowledged(server: Receiver) -> dict[str, list[int]]:
    """The SeqIds of the acknowledged events of each conversation, each at its first arrival."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for request in list(server.answered):
        data = data_of(request)
        if data["seq"] not in found[data["conv_id"]]:
            found[data["conv_id"]].append(data["seq"])
    return dict(found)


def acknowledged_again(server: Receiver) -> int:
    """The number of acknowledgements beyond the first of each event."""
    ids = Counter(request.headers["webhook-id"] for request in list(server.answered))
    return sum(ids.values()) - len(ids)


def are_in_order(found: dict[str, list[int]], conversations: Sequence[str], count: int) -> bool:
    """Whether each conversation has all of its events from SeqId 1 on, in order."""
    return found == {conv_id: list(range(1, count + 1)) for conv_id in conversations}
