"""The rebuild of a device whose sync timeline was trimmed, or that is new, from the store.

1. Take the end of the sync timeline. This comes first, so that step 4 gets all later records.
2. Read the list of conversations, with heads, membership periods and unread counts.
3. Read the last messages of each conversation; earlier ones when the user scrolls back.
4. Follow the sync timeline from the end of step 1. Some entries of step 3 arrive again and are
   recognised by their SeqId. Entries and read marks update the unread counts.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from consumers.device.unread_counts import ReadState, after_entry
from schemas.unread import Counted
from tests.support.gateway import Caller

ASK_SECONDS: Final = 90.0
"""How long a request is repeated that the gateway cannot serve, as a server is slow."""


class Rebuilt(NamedTuple):
    """The state of a device after steps 1 to 3.

    The cursor, the heads, the last entries by SeqId, and the owner's read marks.
    """

    cursor: int
    heads: dict[str, int]
    entries: dict[str, dict[int, dict[str, Any]]]
    readings: dict[str, ReadState]


async def rebuild(gateway: Caller, user: str, last: int) -> Rebuilt:
    """Steps 1 to 3.

    Args:
        gateway: The gateway to query.
        user: The owner of the device.
        last: Number of entries of each conversation to read.
    """
    cursor = (await _ask(gateway, user, "/v1/sync/end"))["next"]  # step 1
    rebuilt = Rebuilt(cursor, {}, {}, {})
    after = None
    while True:  # step 2
        page = await _ask(gateway, user, "/v1/conversations", after=after, order="id")
        for one in page["conversations"]:
            rebuilt.heads[one["conv_id"]] = one["head"]
            end = ReadState().ends_at(Counted(one["head"], one["messages"]))
            read = end.read_to(one["read"], one["messages"] - one["unread"])
            rebuilt.readings[one["conv_id"]] = read
        after = page["next"]
        if after is None:
            break
    for conv_id in rebuilt.heads:  # step 3
        path = f"/v1/conversations/{quote(conv_id, safe='')}/messages"
        page = await _ask(gateway, user, path, order="desc", limit=last)
        rebuilt.entries[conv_id] = {i["seq"]: i for i in page["items"] if "hole" not in i}
    return rebuilt


async def follow(gateway: Caller, user: str, rebuilt: Rebuilt) -> Rebuilt:
    """Step 4, up to the present end. Returns the new state of the device, and its new cursor."""
    cursor = rebuilt.cursor
    while True:
        page = await _ask(gateway, user, "/v1/sync", after=cursor)
        for record in (one["record"] for one in page["records"]):
            _take(rebuilt, user, record)
        cursor = page["next"]
        if not page["more"]:
            return rebuilt._replace(cursor=cursor)


def _take(rebuilt: Rebuilt, user: str, record: dict[str, Any]) -> None:
    conv_id, seq = record["conv_id"], record.get("seq", 0)
    reading = rebuilt.readings.get(conv_id, ReadState())
    entries = rebuilt.entries.setdefault(conv_id, {})
    if record["kind"] == "read_marked":
        counted = entries[seq]["messages"] if seq in entries else None
        rebuilt.readings[conv_id] = reading.read_to(seq, counted)
    elif record["kind"] not in {"duplicate", "rejected", "conversation_muted"}:
        entries[seq] = record
        rebuilt.heads[conv_id] = max(seq, rebuilt.heads.get(conv_id, 0))
        rebuilt.readings[conv_id] = after_entry(reading, msgspec.json.encode(record), user)


async def _ask(gateway: Caller, user: str, path: str, **query: Any) -> Any:
    deadline = time.monotonic() + ASK_SECONDS
    while (answer := await gateway.get(path, user, **query)).status in {429, 503}:
        assert time.monotonic() < deadline, answer.body
        await asyncio.sleep(1)
    assert answer.status == 200, answer.body
    return answer.body
