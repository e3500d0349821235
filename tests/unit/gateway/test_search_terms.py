"""Parsing of a query, and cursors of a search."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.search_text import readings_of
from gateway.reads.search_terms import MAX_TERMS, MAX_TOKENS, from_cursor, parse_query, to_cursor
from gateway.store.index_port import Query, SearchPosition, Term
from schemas.records import MAX_ID_LENGTH


def terms_of(query: str) -> list[str]:
    """The terms of a query whose terms have one reading each."""
    return [reading for (reading,) in parse_query(query).terms]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("hello", ["hello"]),
        ("hello  world\t", ["hello", "world"]),
        ("Hello HELLO", ["hello"]),
        ('"hello world" 你好', ["hello world", "你 好"]),
        ("\uff28\uff25\uff2c\uff2c\uff2f", ["hello"]),  # full width
        ("天气\u3000很好", ["天 气", "很 好"]),  # the ideographic space
        ("天气\u00a0很好", ["天 气", "很 好"]),  # the no-break space
        ("ｶﾞ", ["ガ"]),
        ("Straße", ["strasse"]),
        ("C++ C# .NET", ["c + +", "c #", ". net"]),
        ("zero\u200bwidth", ["zerowidth"]),
    ],
)
def test_a_query_is_split_into_its_terms(query: str, terms: list[str]) -> None:
    """White space separates terms; width and case do not matter."""
    assert terms_of(query) == terms


QUOTATIONS = ['"{}"', "“{}”", "„{}“", "”{}”", "«{}»", "»{}«", "\uff02{}\uff02", "「{}」", "『{}』",
              "｢{}｣", "〝{}〟", "« {} »", "❝{}❞", "\u200f“{}”\u200e"]  # fmt: skip


@pytest.mark.parametrize("quotation", QUOTATIONS)
def test_a_quotation_is_one_term(quotation: str) -> None:
    """Quotation marks of all typographies make one term of the words between them."""
    assert terms_of(quotation.format("项目 上线")) == [r"项 目 \s 上 线"]
    quoted = quotation.format("hello world")
    assert terms_of(f"say {quoted} 你好") == ["say", "hello world", "你 好"]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ('say "hello world', ["say", "hello world"]),  # an open quotation ends with the query
        ('"hello world", then', ['hello world " , \\s then']),  # no white space follows the mark
        ('a"b c"d', ['a " b', 'c " d']),  # within a word: a character
        ('5" 3.5"', ['5 "', '3 . 5 "']),
        ("don't", ["don ' t"]),
        ("don\u2019t", ["don ' t"]),
        ("'twas 'n'", ["' twas", "' n '"]),  # single marks are characters
        ('"', ['"']),  # an empty quotation: the marks themselves
        ('""', ['" "']),
        ('"" x ""', ['" "', "x"]),
        ('" "', ['"']),
        ('""x""', ['" x "']),  # doubled: the marks are searched
        ("「", ["「"]),
        ("说「你好」", ["说 「 你 好 」"]),
    ],
)
def test_a_quotation_mark_is_a_character_elsewhere(query: str, terms: list[str]) -> None:
    """A quotation begins at the start of a term and ends before white space."""
    assert terms_of(query) == terms


UNSEEN = ["", " ", "\u3000", "\u200b", "\u00ad \ufeff", "\ufe0f", "\x00"]


@pytest.mark.parametrize("query", UNSEEN)
def test_a_query_without_visible_characters_is_refused(query: str) -> None:
    """A query without a visible character is a `ValueError`."""
    with pytest.raises(ValueError, match="visible"):
        parse_query(query)


def test_a_long_query_is_cut() -> None:
    """A long query is cut at its bounds, and the result states that it was cut."""
    words = [f"w{n}" for n in range(MAX_TERMS + 1)]
    first: list[Term] = [(word,) for word in words[:-1]]
    assert parse_query(" ".join(words[:-1])) == Query(first, is_cut=False)
    assert parse_query(" ".join(words)) == Query(first, is_cut=True)
    run = "天" * MAX_TOKENS
    assert not parse_query(run).is_cut
    assert parse_query(run + "气") == parse_query(run)._replace(is_cut=True)
    assert parse_query(run + " hello") == parse_query(run)._replace(is_cut=True)


@settings(deadline=None)
@given(st.text(max_size=500) | st.text('ab "“”「」\u200b.', max_size=30))
def test_any_text_is_a_query_or_is_refused(query: str) -> None:
    """Any text is a valid query or a `ValueError`; no term is blank or repeated."""
    try:
        terms, is_cut = parse_query(query)
    except ValueError:
        assert not any(character.isascii() and character.isalnum() for character in query)
    else:
        assert terms
        assert all(reading.strip() == reading != "" for term in terms for reading in term)
        assert len(set(terms)) == len(terms) <= MAX_TERMS
        assert is_cut or len(query.split()) >= len(terms)


@settings(deadline=None)
@given(st.lists(st.text("abc你好", min_size=1, max_size=3), min_size=1, max_size=5, unique=True))
def test_words_and_phrases_are_their_own_queries(words: list[str]) -> None:
    """Words are one term each, and words in quotation marks are one term together."""
    assert parse_query(" ".join(words)).terms == [readings_of(word) for word in words]
    assert parse_query('"' + " ".join(words) + '"').terms == [readings_of(" ".join(words))]


places = st.builds(
    SearchPosition,
    st.integers(0, 1 << 53),
    st.text(
        st.characters(exclude_categories=["C", "Z"]) | st.just(" "),
        min_size=1,
        max_size=MAX_ID_LENGTH,
    ),
    st.integers(1, (1 << 63) - 1),
)


@settings(deadline=None)
@given(places)
def test_a_cursor_is_decoded_unchanged(place: SearchPosition) -> None:
    """A cursor decodes to its place, and its length is bounded for the longest id."""
    cursor = to_cursor(place)
    assert from_cursor(cursor) == place
    assert len(cursor) <= 2_000


@settings(deadline=None)
@given(st.text(max_size=50))
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    """Any text decodes to a place or raises `ValueError`."""
    try:
        place = from_cursor(cursor)
    except ValueError:
        return
    assert isinstance(place, SearchPosition)


@pytest.mark.parametrize("value", ['[1,"c"]', '["1","c",2]', '[1,"c",2,3]', "{}", "null", "[1.5"])
def test_a_cursor_of_another_shape_is_refused(value: str) -> None:
    """A cursor with other than a time, a conversation and a SeqId is refused."""
    with pytest.raises(ValueError, match="earlier page"):
        from_cursor(base64.urlsafe_b64encode(value.encode()).decode().rstrip("="))


@settings(deadline=None)
@given(st.lists(places, max_size=8))
def test_positions_are_ordered_from_the_newest(found: list[SearchPosition]) -> None:
    """Places sort by time, newest first, then by conversation, then by SeqId, highest first."""
    ordered = sorted(found, key=SearchPosition.sort_key)
    assert [p.at for p in ordered] == sorted((p.at for p in found), reverse=True)
    for one, other in pairwise(ordered):
        if one.at == other.at:
            assert (one.conv_id, -one.seq) <= (other.conv_id, -other.seq)
