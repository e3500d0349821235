"""The numbers that bound what people can do, and when fan-out changes."""

from __future__ import annotations

from msgspec import Struct

MESSAGE_BUCKET = 10_000
"""Entries of a conversation in one partition of the store: 10,000 of at most 9 KB are 90 MB."""

SYNC_BUCKET = 10_000
"""Offsets of a sync shard in one partition of the store, for the same reason."""

DEDUP_WINDOW = 32
"""Accepted ids remembered for each (conversation, sender, device)."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one deployment allows. Counts are of people, sizes in bytes of UTF-8.

    ``push_limit``: a conversation with more members goes to ``pull``.
    ``push_again_below``: with fewer members it goes back to ``push``. Lower than ``push_limit``,
    so that one person who comes and goes does not switch the mode each time.
    ``members_per_entry``: a longer list of members becomes several entries, because each person
    named gets the entry: an entry of all n would cost n times n.
    """

    push_limit: int = 500
    push_again_below: int = 400
    max_text_bytes: int = 8_192
    max_mentions: int = 100
    max_members_per_command: int = 10_000
    members_per_entry: int = 500
