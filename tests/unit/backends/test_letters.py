"""The notes on dead letters: which letters a note settles."""

from __future__ import annotations

from backends.stages.letters import Letter, LetterNote, open_letters, with_fates
from schemas.dead_letters import Origin, fate_in, letter_headers, note_headers
from schemas.dead_letters import content_of as digest_of
from schemas.number_types import Milliseconds, Offset


def letter(at: int, *, stage: str = "sink-message", offset: int = 7) -> Letter:
    """A letter about a record of partition 1."""
    return Letter(
        stage=stage, reason="r", topic="t", partition=1, offset=Offset(offset), size=0,
        at=Milliseconds(at),
    )  # fmt: skip


def note(at: int, up_to: int | None = None) -> LetterNote:
    """A note on `letter`, by default on all older letters."""
    settled = Milliseconds(at if up_to is None else up_to)
    return LetterNote(letter(0).subject, "dropped", Milliseconds(at), settled)


def test_a_note_settles_the_older_letters_about_its_record() -> None:
    """Repeated letters are settled together; a letter after the note is open again."""
    letters = [letter(1), letter(2), letter(9)]

    found = with_fates(letters, [note(2)])

    assert [each.fate for each in found] == ["dropped", "dropped", None]
    assert open_letters(found) == [letters[2]]


def test_a_letter_after_the_replayed_one_is_open() -> None:
    """A stage may refuse a replay before the command has written the note on the first letter."""
    found = with_fates([letter(1), letter(3)], [note(5, up_to=1)])

    assert [each.fate for each in found] == ["dropped", None]


def test_a_note_settles_no_letter_of_another_stage_or_record() -> None:
    """Two sinks may put the same record aside, each for a reason of its own."""
    others = [letter(1, stage="sink-search"), letter(1, offset=8)]

    assert with_fates(others, [note(5)]) == others


def test_the_last_note_counts() -> None:
    """The time of the newest note is shown, in any order of notes."""
    (found,) = with_fates([letter(1)], [note(7), note(3)])

    assert found.fate_at == 7


def test_only_a_note_has_a_fate() -> None:
    """The headers distinguish a note from a letter."""
    origin = Origin("t", 1, Offset(7))
    a_note = {
        name: bytes(text).decode()
        for name, text in _pairs(note_headers("s", origin, "replayed", Milliseconds(7)))
    }
    a_letter = letter_headers("s", "reason", origin, digest_of(b""))

    assert fate_in(a_note) == "replayed"
    assert fate_in({name: bytes(text).decode() for name, text in _pairs(a_letter)}) is None


def _pairs(headers: list[tuple[str, str | bytes | None]]) -> list[tuple[str, bytes]]:
    return [(name, text) for name, text in headers if isinstance(text, bytes)]
