"""The note of an offset commit: the metadata with which a stage reports its delay and its counts.

Every stage writes a note with each commit, `im status` reads the notes, and a sink continues its
counts from the last note.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.codec import decode, encode
from schemas.errors import UndecodableRecord
from schemas.records.values import Int64, Ms


class CommitNote(Struct):
    """The note of one partition, JSON in the metadata of the commit.

    ``delay_ms``: the time from the broker's timestamp of the newest entry's command until the
    stage finished the entry. ``at``: the time of this measurement, in milliseconds since 1970.
    Both are absent before the first entry.

    The other fields are counts for this partition. The sequencer counts commands since its first
    record: ``accepted``, ``duplicates``, ``stale``, ``rejected``. A sink counts its
    finished ``records``. The count began with the version that introduced it. All stages count
    ``dead_letters`` since their first record. The sync sink counts deliveries since the setting
    ``skip_inactive`` was first on: ``written``, ``skipped``. A record that a sink writes again
    after a restart counts once. The counts of other stages are absent.

    ``writer``: the `transactional.id` of the sequencer's producer that owns the partition; empty
    after the producer gave the partition up.
    """

    delay_ms: Ms | UnsetType = UNSET
    at: Ms | UnsetType = UNSET
    accepted: Int64 | UnsetType = UNSET
    duplicates: Int64 | UnsetType = UNSET
    stale: Int64 | UnsetType = UNSET
    rejected: Int64 | UnsetType = UNSET
    records: Int64 | UnsetType = UNSET
    dead_letters: Int64 = 0
    written: Int64 | UnsetType = UNSET
    skipped: Int64 | UnsetType = UNSET
    writer: str | UnsetType = UNSET

    @property
    def counts(self) -> dict[str, int]:
        """The counts that the note has, by name."""
        fields = {name: getattr(self, name) for name in NOTED_COUNTS}
        return {name: count for name, count in fields.items() if count is not UNSET}


NOTED_COUNTS: Final = tuple(
    name for name in CommitNote.__struct_fields__ if name not in {"delay_ms", "at", "writer"}
)
"""The names of the counts of a note."""

_decoder = msgspec.json.Decoder(CommitNote)


def encode_note(note: CommitNote) -> str:
    """The metadata of a commit."""
    return encode(note).decode()


def decode_note(metadata: str | None) -> CommitNote:
    """The note of a commit; an empty note if a program other than a stage made the commit."""
    try:
        return decode(_decoder, (metadata or "{}").encode())
    except UndecodableRecord:
        return CommitNote()
