"""Texts without a visible character."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.texts import is_blank

PREPENDED: frozenset[str] = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
"""Format characters with a glyph, such as the Arabic number sign."""


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t", "\u3000", "\u200b\u200d", "\ufeff", "\u2800", "\u3164", "\u00ad", "\x00",
     "\ufe0f", "\u202e", "\U000e0041", "\u115f\u1160", " \u2060 \u034f", "\u180e", "\x85"],
)  # fmt: skip
def test_a_text_without_visible_characters_is_blank(text: str) -> None:
    """White space, controls, format characters, fillers, selectors and tags are blank."""
    assert is_blank(text)


@pytest.mark.parametrize(
    "text", ["a", ".", " x ", "陈", "\u200bé", "❤\ufe0f", "\u0301", "0", "\u0600", "\U0001f600"]
)
def test_a_text_with_a_visible_character_is_not_blank(text: str) -> None:
    """One visible character at any position is enough."""
    assert not is_blank(text)


def test_space_control_and_format_characters_are_invisible() -> None:
    """In all of Unicode, the blank characters are these categories and known exceptions."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        if category in {"Cc", "Zs", "Zl", "Zp"} or character.isspace():
            assert is_blank(character), hex(code)
        elif category == "Cf":
            assert is_blank(character) != (character in PREPENDED), hex(code)
        elif category[0] in "LNPS" and code not in {0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800}:
            assert not is_blank(character), hex(code)


@given(st.text(), st.text())
def test_a_text_is_blank_when_all_of_it_is(one: str, other: str) -> None:
    """A concatenation is blank exactly if both parts are blank."""
    assert is_blank(one + other) == (is_blank(one) and is_blank(other))
