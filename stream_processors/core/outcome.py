"""What a decision consists of."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from schemas.records import AnyEntry, AnyReply
from stream_processors.core.state import Change


class Delivery(Struct, frozen=True, gc=False):
    """One new entry, and whose sync timelines it goes to."""

    entry: AnyEntry
    recipients: Sequence[str]


class Outcome(Struct, frozen=True, gc=False):
    """Either new entries with the changes that they mean, or a reply to the sender."""

    deliveries: Sequence[Delivery] = ()
    changes: Sequence[Change] = ()
    reply: AnyReply | None = None
