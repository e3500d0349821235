"""What is made of a search box."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.elasticsearch import fold
from gateway.search_terms import (
    MAX_QUERY_CHARACTERS,
    MAX_TERMS,
    Place,
    from_cursor,
    parse_terms,
    to_cursor,
)
from schemas.records import MAX_ID_LENGTH


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("hello", ["hello"]),
        ("hello  world\t", ["hello", "world"]),
        ("Hello HELLO", ["hello"]),
        ('"hello world" 你好', ["hello world", "你好"]),
        ('say "hello world', ["say", "hello world"]),
        ('a"b c"d', ["a", "b c", "d"]),
        ('"" x ""', ["x"]),
        ('" "x', ["x"]),
        ("\uff28\uff25\uff2c\uff2c\uff2f", ["hello"]),  # full width
        ("天气\u3000很好", ["天气", "很好"]),  # the ideographic space
        ("ｶﾞ", ["ガ"]),
        ("Straße", ["strasse"]),
    ],
)
def test_terms(query: str, terms: list[str]) -> None:
    """Whitespace separates, quotation marks join, width and case do not matter."""
    assert parse_terms(query) == terms


@pytest.mark.parametrize("query", ["", " ", '"', '""', '" "', "\u3000"])
def test_nothing_to_search_for(query: str) -> None:
    """A query without a term is a mistake of the caller."""
    with pytest.raises(ValueError, match="word"):
        parse_terms(query)


def test_too_many_terms() -> None:
    """The cost of a query is bounded."""
    assert len(parse_terms(" ".join(str(n) for n in range(MAX_TERMS)))) == MAX_TERMS
    with pytest.raises(ValueError, match="more than"):
        parse_terms(" ".join(str(n) for n in range(MAX_TERMS + 1)))


@settings(deadline=None)
@given(st.text(max_size=MAX_QUERY_CHARACTERS))
def test_any_text_is_a_query_or_a_mistake(query: str) -> None:
    """Nothing that is typed fails in another way, and terms are always folded and never blank."""
    try:
        terms = parse_terms(query)
    except ValueError:
        assert not any(character.isalnum() for character in query) or len(query) > MAX_TERMS
    else:
        assert terms
        assert all(term.strip() == term != "" for term in terms)
        assert len(set(terms)) == len(terms)


@settings(deadline=None)
@given(st.lists(st.text("abc你好", min_size=1, max_size=3), min_size=1, max_size=5, unique=True))
def test_words_and_phrases_come_back(words: list[str]) -> None:
    """Words in a row are a term each; in quotation marks they are one."""
    assert parse_terms(" ".join(words)) == words
    assert parse_terms('"' + " ".join(words) + '"') == [fold(" ".join(words))]


places = st.builds(
    Place,
    st.integers(0, 1 << 53),
    st.text(min_size=1, max_size=MAX_ID_LENGTH),
    st.integers(1, (1 << 63) - 1),
)


@settings(deadline=None)
@given(places)
def test_a_cursor_comes_back(place: Place) -> None:
    """A cursor stands for the place that it was made from, and fits the longest id."""
    cursor = to_cursor(place)
    assert from_cursor(cursor) == place
    assert len(cursor) <= 2_000


@settings(deadline=None)
@given(st.text(max_size=50))
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    """What is no cursor raises the one error, or happens to be one."""
    try:
        place = from_cursor(cursor)
    except ValueError:
        return
    assert isinstance(place, Place)


@pytest.mark.parametrize("value", ['[1,"c"]', '["1","c",2]', '[1,"c",2,3]', "{}", "null", "[1.5"])
def test_a_cursor_of_another_shape_is_refused(value: str) -> None:
    """A cursor is exactly a time, a conversation and a SeqId."""
    with pytest.raises(ValueError, match="earlier answer"):
        from_cursor(base64.urlsafe_b64encode(value.encode()).decode().rstrip("="))


@settings(deadline=None)
@given(st.lists(places, max_size=8))
def test_places_sort_newest_first(found: list[Place]) -> None:
    """By time, then by conversation, then by SeqId, newest first within each conversation."""
    ordered = sorted(found, key=Place.sort_key)
    assert [p.at for p in ordered] == sorted((p.at for p in found), reverse=True)
    for one, other in pairwise(ordered):
        if one.at == other.at:
            assert (one.conv_id, -one.seq) <= (other.conv_id, -other.seq)
