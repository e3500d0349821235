"""The notes of offset commits."""

from __future__ import annotations

import pytest

from backends.kafka.commit_notes import CommitNote, decode_note, encode_note
from schemas.number_types import Milliseconds


def test_a_note_is_read_as_it_was_written() -> None:
    """Metadata names only the fields that the stage has, in a fixed order."""
    note = CommitNote(
        delay_ms=Milliseconds(5),
        at=Milliseconds(1_700_000_000_000),
        accepted=3,
        rejected=0,
        dead_letters=1,
    )
    metadata = '{"delay_ms":5,"at":1700000000000,"accepted":3,"rejected":0,"dead_letters":1}'
    assert encode_note(note) == metadata
    assert decode_note(metadata) == note


def test_counts_are_the_counts_of_the_stage() -> None:
    """A count of 0 is a count; an absent count and the measurement are not."""
    assert CommitNote(delay_ms=Milliseconds(5), at=Milliseconds(7), written=0).counts == {
        "dead_letters": 0,
        "written": 0,
    }


@pytest.mark.parametrize(
    "metadata", [None, "", "moved by hand", "[1]", '{"at":"now"}', "[" * 9_000]
)
def test_metadata_of_another_program_is_an_empty_note(metadata: str | None) -> None:
    """Other programs may commit offsets of a group: their metadata raises no error."""
    assert decode_note(metadata) == CommitNote()


def test_fields_of_later_versions_are_ignored() -> None:
    """A note with an unknown count is read."""
    assert decode_note('{"at":7,"dead_letters":2,"later":1}') == CommitNote(
        at=Milliseconds(7), dead_letters=2
    )
