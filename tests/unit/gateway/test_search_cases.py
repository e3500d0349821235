"""The rule of the search: which queries find which messages."""

from __future__ import annotations

import pytest

from backends.search_text import LONGEST_TOKEN, has_run, readings_of
from gateway.reads.search_terms import parse_query
from tests.support.search_cases import CASES, Case


def finds(query: str, text: str) -> bool:
    """Return whether a message contains all terms of a query."""
    return all(has_run(readings_of(text), term) for term in parse_query(query).terms)


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.text))
def test_a_message_is_found_by_what_a_reader_sees(case: Case) -> None:
    """A message is found by each of these queries, and by its whole text."""
    assert [query for query in case.finds if not finds(query, case.text)] == []
    assert finds(case.text, case.text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.text))
def test_a_message_is_not_found_by_other_queries(case: Case) -> None:
    """A message is found by none of these queries."""
    assert [query for query in case.misses if finds(query, case.text)] == []


def test_a_very_long_word_is_found_as_a_whole() -> None:
    """A word longer than the longest token is found only by the whole word."""
    word = "x" * (LONGEST_TOKEN + 1)
    zalgo = "好" + "\u0301" * LONGEST_TOKEN
    for long in (word, zalgo):
        text = f"see {long}, here"
        assert finds(long.upper(), text)
        assert finds(f'"see {long}, here"', text)
        assert not finds(long[:-1], text)
        assert not finds(long + long[-1], text)
        assert max(map(len, readings_of(text)[0].split())) <= LONGEST_TOKEN
