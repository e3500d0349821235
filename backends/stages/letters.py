"""Dead letters and the notes on them, decoded. The text of a record is never decoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias, cast

from confluent_kafka import Message
from msgspec import Struct
from msgspec.structs import replace

from schemas.dead_letters import UP_TO, Headers, LetterFate, Origin, fate_in
from schemas.number_types import Milliseconds, Offset

_UNKNOWN: Final = -1

LetterSubject: TypeAlias = tuple[str, str, int, int]
"""Stage, topic, partition and offset: what a letter is about. Repeated letters share it."""


class Letter(Struct, frozen=True, kw_only=True):
    """A dead letter, see `schemas.dead_letters`. -1: the letter lacks this number.

    Attributes:
        at: The time of the letter, in milliseconds since 1970.
        last_offset: The last offset of a rejected batch; ``offset`` for a single record.
        own_partition: The partition of the letter itself on ``im.dead-letter``.
        own_offset: Its offset there.
        fate: The action of an operator on the record; None for an open letter.
        fate_at: The time of the action, in milliseconds since 1970.
    """

    stage: str
    reason: str
    topic: str
    partition: int
    offset: Offset
    size: int
    at: Milliseconds
    last_offset: Offset = Offset(_UNKNOWN)
    sha256: str = ""
    own_partition: int = _UNKNOWN
    own_offset: Offset = Offset(_UNKNOWN)
    fate: LetterFate | None = None
    fate_at: Milliseconds | None = None

    @property
    def place(self) -> str:
        """The place of the record, as an argument of `im dead-letter replay`."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def own_place(self) -> str:
        """The place of the letter itself, as an argument of `im dead-letter list --after`."""
        return f"{self.own_partition}:{self.own_offset}"

    @property
    def subject(self) -> LetterSubject:
        """The stage and the record that the letter is about."""
        return self.stage, self.topic, self.partition, self.offset

    @property
    def origin(self) -> Origin:
        """The place of the record."""
        return Origin(self.topic, self.partition, self.offset)

    @property
    def is_batch(self) -> bool:
        """Whether the letter is about a batch that was rejected as a whole."""
        return self.last_offset > self.offset


class LetterNote(NamedTuple):
    """A note on all letters about ``subject`` up to the time ``up_to``, written at ``at`` (ms)."""

    subject: LetterSubject
    fate: LetterFate
    at: Milliseconds
    up_to: Milliseconds


def letter_or_note(message: Message) -> Letter | LetterNote:
    """Decodes a record of ``im.dead-letter``."""
    headers = {
        name: value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for name, value in cast("Headers", message.headers() or [])
    }
    offset = Offset(_number(headers.get("offset")))
    letter = Letter(
        stage=headers.get("stage", "unknown"),
        reason=headers.get("reason", "unknown"),
        topic=headers.get("topic", "unknown"),
        partition=_number(headers.get("partition")),
        offset=offset,
        size=_number(headers.get("size")),
        at=Milliseconds(message.timestamp()[1]),
        last_offset=Offset(max(offset, _number(headers.get("last_offset")))),
        sha256=headers.get("sha256", ""),
        own_partition=_UNKNOWN if message.partition() is None else message.partition() or 0,
        own_offset=Offset(message.offset() or 0),
    )
    fate = fate_in(headers)
    if fate is None:
        return letter
    up_to = Milliseconds(int(headers[UP_TO])) if headers.get(UP_TO, "").isdecimal() else letter.at
    return LetterNote(letter.subject, fate, letter.at, up_to)


def with_fates(letters: Iterable[Letter], notes: Iterable[LetterNote]) -> list[Letter]:
    """The letters, each with the fate of the note that settles the latest letters about it."""
    last: dict[LetterSubject, LetterNote] = {}
    for note in notes:
        before = last.get(note.subject)
        if before is None or before.up_to <= note.up_to:
            last[note.subject] = note
    return [_with_fate(letter, last.get(letter.subject)) for letter in letters]


def sorted_apart(
    records: Iterable[Letter | LetterNote],
) -> tuple[list[Letter], list[LetterNote]]:
    """The letters and the notes among records."""
    letters: list[Letter] = []
    notes: list[LetterNote] = []
    for record in records:
        if isinstance(record, Letter):
            letters.append(record)
        else:
            notes.append(record)
    return letters, notes


def open_letters(letters: Sequence[Letter]) -> list[Letter]:
    """The letters that no operator has settled."""
    return [letter for letter in letters if letter.fate is None]


def _with_fate(letter: Letter, note: LetterNote | None) -> Letter:
    if note is None or note.up_to < letter.at:
        return letter
    return replace(letter, fate=note.fate, fate_at=note.at)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else _UNKNOWN
