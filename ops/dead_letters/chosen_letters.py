"""Which dead letters a command is about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from backends.stages.letters import Letter
from schemas.errors import ConfigurationError
from schemas.number_types import Milliseconds


class LetterFilter(NamedTuple):
    """The letters to choose. An empty field chooses all letters.

    Attributes:
        stage: The stage.
        reason: A part of the reason, in upper or lower case.
        topic: The topic of the record.
        since: The earliest time of the letter (ms).
        until: The time (ms) before which the letter was written.
        places: The places of the records.
        with_settled: Also letters that an operator has settled.
    """

    stage: str = ""
    reason: str = ""
    topic: str = ""
    since: Milliseconds | None = None
    until: Milliseconds | None = None
    places: Collection[str] = ()
    with_settled: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the filter chooses all letters."""
        return self == LetterFilter(with_settled=self.with_settled)

    def chooses(self, letter: Letter) -> bool:
        """Whether a letter is chosen."""
        return (
            self.stage in {"", letter.stage}
            and self.reason.casefold() in letter.reason.casefold()
            and self.topic in {"", letter.topic}
            and (self.since is None or self.since <= letter.at)
            and (self.until is None or letter.at < self.until)
            and (not self.places or letter.place in self.places)
            and (self.with_settled or letter.fate is None)
        )


def chosen(letters: Iterable[Letter], by: LetterFilter) -> list[Letter]:
    """The letters that a filter chooses.

    Raises:
        ConfigurationError: There is no letter at one of the places, settled or not.
    """
    found = list(letters)
    known = {letter.place for letter in found}
    if unknown := sorted(place for place in by.places if place not in known):
        raise ConfigurationError(f"there is no dead letter about {', '.join(unknown)}")
    return [letter for letter in found if by.chooses(letter)]


def settled_together(letters: Iterable[Letter], by: LetterFilter) -> list[Letter]:
    """The letters that a filter chooses, and all open letters that their notes settle as well.

    Letters of several devices of a person have the same place, and may have different reasons.

    Raises:
        ConfigurationError: See `chosen`.
    """
    found = list(letters)
    wanted = chosen(found, by)
    subjects = {letter.subject for letter in wanted}
    together = [each for each in found if each.fate is None and each.subject in subjects]
    return [*(each for each in wanted if each.fate is not None), *together]


class LetterPage(NamedTuple):
    """A page of letters. ``following``: the letter to continue after; None on the last page."""

    letters: Sequence[Letter]
    following: str | None


def page_of(letters: Sequence[Letter], after: str | None, limit: int) -> LetterPage:
    """A page of letters.

    Args:
        letters: All chosen letters in their order.
        after: `Letter.own_place` of the last letter of the previous page.
        limit: The most letters.

    Raises:
        ConfigurationError: ``after`` is not among the letters.
    """
    start = 0
    if after is not None:
        places = [letter.own_place for letter in letters]
        if after not in places:
            raise ConfigurationError(f"--after {after}: no such letter in this list")
        start = places.index(after) + 1
    page = letters[start : start + limit]
    is_last = start + limit >= len(letters)
    return LetterPage(page, None if is_last else page[-1].own_place)
