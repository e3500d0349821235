"""How a conversation was fanned out: what was pushed, and how often the mode changed."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.codec import decode_entry
from schemas.records import Entry, FanoutChanged
from schemas.settings import Settings
from tests.support.topics import sync_timelines


def pushed_seqs(settings: Settings, user: str, conv_id: str) -> set[int]:
    """The SeqIds of the entries that the sync timeline of a person has."""
    return {
        record.seq
        for record in sync_timelines(settings)[user]
        if isinstance(record, Entry) and record.conv_id == conv_id
    }


def count_switches(timeline: Iterable[bytes]) -> int:
    """How often the mode of a conversation has changed."""
    return sum(isinstance(decode_entry(value), FanoutChanged) for value in timeline)
