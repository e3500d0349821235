"""A message is found exactly by what a reader sees in it, compared with a model."""

from __future__ import annotations

import unicodedata
from random import Random
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from backends.search_text import LONGEST_TOKEN, has_run, readings_of
from backends.search_text.characters import visible_characters
from backends.search_text.folding import fold
from gateway.reads.search_terms import parse_query
from tests.support.glyphs import (
    JUNK,
    LETTERS,
    SINGLES,
    SPACE,
    Glyph,
    collapsed,
    is_boundary,
    is_seen,
)

LIKE_MARKS: Final = "\u0e33\u0eb3\uff9e\uff9f"
"""Letters by category that are displayed as marks of the letter before."""

ANY_GLYPH: Final = st.sampled_from([SPACE]) | st.sampled_from(LETTERS) | st.sampled_from(SINGLES)
TEXTS: Final = st.lists(ANY_GLYPH, min_size=1, max_size=12)


def written(draw: st.DrawFn, glyphs: list[Glyph]) -> str:
    """Write each glyph in one of its spellings, with unseen characters between."""
    chosen = Random(draw(st.integers(0, 1 << 32)))
    return "".join(chosen.choice(glyph.spellings) + chosen.choice(JUNK) for glyph in glyphs)


@st.composite
def runs_of_messages(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a message, and a run of its visible text in another spelling."""
    shown = collapsed(draw(TEXTS)) or [LETTERS[0]]
    ends = [at for at in range(len(shown) + 1) if is_boundary(shown, at)]
    first = draw(st.sampled_from(ends[:-1]))
    last = draw(st.sampled_from([end for end in ends if end > first]))
    run = collapsed(shown[first:last]) or shown[:1] if len(ends) == 2 else shown[first:last]
    return written(draw, shown), written(draw, collapsed(run))


@st.composite
def messages_and_queries(draw: st.DrawFn) -> tuple[str, str, bool]:
    """Draw a message, a query of similar glyphs, and whether the message shows the query."""
    few = draw(st.lists(ANY_GLYPH, min_size=2, max_size=4))
    some = st.lists(st.sampled_from(few), min_size=1, max_size=12)
    text, run = draw(some), draw(some.map(lambda glyphs: glyphs[:4]))
    return written(draw, text), written(draw, run), is_seen(run, text)


@settings(deadline=None, max_examples=250)
@given(runs_of_messages())
def test_a_message_is_found_by_each_run_that_it_shows(found: tuple[str, str]) -> None:
    """A message is found by any run of its words or glyphs, in any spelling of both."""
    text, run = found
    term = readings_of(run)
    assert not term or has_run(readings_of(text), term)


@settings(deadline=None, max_examples=250)
@given(messages_and_queries())
@example(("👍🏽", "👍", True))
@example(("👍", "👍🏽", False))
@example(("👍🏽👍🏽", "👍👍", False))
def test_a_message_is_found_by_no_other_query(asked: tuple[str, str, bool]) -> None:
    """A run is found exactly if the message shows it."""
    text, run, seen = asked
    term = readings_of(run)
    if term:
        assert has_run(readings_of(text), term) is seen


@settings(deadline=None)
@given(TEXTS.flatmap(lambda glyphs: st.composite(lambda draw: written(draw, glyphs))()))
def test_a_message_is_found_by_itself(text: str) -> None:
    """A message is found by its whole text as a query, with any quotation marks."""
    try:
        query = parse_query(text)
    except ValueError:
        assert readings_of(text) == ()
    else:
        assert all(has_run(readings_of(text), term) for term in query.terms)


@settings(deadline=None, max_examples=500)
@given(st.text(), st.text())
def test_any_text_in_white_space_is_found(one: str, other: str) -> None:
    """Any text between white space is found, whatever its characters are."""
    text = readings_of(f"{one} {other}")
    assert all(has_run(text, term) for term in map(readings_of, (one, other)) if term)


@settings(deadline=None, max_examples=500)
@given(st.text())
def test_tokens_are_bounded_and_stable(text: str) -> None:
    """Tokens have no other separator than a space, and have a maximum length."""
    for reading in readings_of(text):
        tokens = reading.split(" ")
        assert tokens == reading.split()
        assert all(0 < len(token) <= LONGEST_TOKEN for token in tokens)
        assert reading.encode().decode() == reading
    folded = fold(visible_characters(text))
    assert fold(visible_characters(folded)) == folded


def test_every_character_is_searchable_or_invisible() -> None:
    """Each code point between Han characters is found by itself, or is unseen and no boundary."""
    for code in range(0xE0000):
        character = chr(code)
        category = unicodedata.category(character)
        if category in {"Cn", "Co", "Cs"} or character in "海东":
            continue
        if category == "Lo" and code > 0x3400 and code % 16:
            continue  # a sixteenth of the Han characters and Hangul syllables
        term, text = readings_of(character), readings_of(f"海{character}东")
        if term == ():
            spaced = character.isspace() and code not in range(0x1C, 0x20)
            assert has_run(text, readings_of("海 东" if spaced else "海东")), hex(code)
        elif not category.startswith("M") and character not in LIKE_MARKS:
            assert has_run(text, term), hex(code)
            assert not has_run(text, readings_of("海东")), hex(code)
