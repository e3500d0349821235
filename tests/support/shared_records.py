"""Converts deliveries to records of ``im.sync``: one for each entry and shard."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.recipients import recipients_key


def shared_records(
    deliveries: Sequence[tuple[str, bytes]], homes: Sequence[int | None]
) -> list[tuple[int, bytes, bytes]]:
    """(shard, key, value) of each record, in the order of writing.

    Args:
        deliveries: (recipient, value). The deliveries of one entry are adjacent.
        homes: The shard of each delivery; a delivery without a shard is omitted.
    """
    found: list[tuple[int, list[str], bytes]] = []
    last: bytes | None = None
    by_shard: dict[int, list[str]] = {}
    for (user, value), home in zip(deliveries, homes, strict=True):
        if value != last or any(user in users for users in by_shard.values()):
            last, by_shard = value, {}
        if home is None:
            continue
        if home not in by_shard:
            by_shard[home] = []
            found.append((home, by_shard[home], value))
        by_shard[home].append(user)
    return [(home, recipients_key(users), value) for home, users, value in found]
