"""What a decision consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.records import AnyEntry, AnyReply
from stream_processors.core.state import Change


class Delivery(NamedTuple):
    """One new entry, and whose sync timelines it goes to."""

    entry: AnyEntry
    recipients: Sequence[str]


class Outcome(NamedTuple):
    """Either new entries with the changes that they mean, or a reply to the sender."""

    deliveries: Sequence[Delivery] = ()
    changes: Sequence[Change] = ()
    reply: AnyReply | None = None
