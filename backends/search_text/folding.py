"""The form in which two texts are compared: width, case and compatibility forms made equal."""

from __future__ import annotations

import unicodedata
from typing import Final

import regex

from backends.search_text.characters import BREAK, DOTTED_CIRCLE, seen

_ROUNDS: Final = 6
"""More than any text needs; a bound, so that folding ends."""

_DOT: Final = "i\u0307"
"""Small i with a dot above: the case folding of the Turkish capital letter with a dot."""

_SPLIT_VOWELS: Final = (("\u0e4d\u0e32", "\u0e33"), ("\u0ecd\u0eb2", "\u0eb3"))
"""What NFKC makes of the Thai and Lao vowel AM, which a reader sees as one."""

_LONE_MARK: Final = regex.compile(r"(?<![^\s\uFDD0])(?=\p{M})")
"""Before a mark that follows white space or nothing."""

_OF_WORDS: Final = frozenset({"L", "M", "Nd", "Nl"})
"""Categories of what is a part of the word that it touches."""

_SYMBOLS: Final = frozenset(
    symbol
    for symbol in map(chr, range(0xA0, 0x20000))
    if _OF_WORDS.isdisjoint({category := unicodedata.category(symbol), category[0]})
    and (form := unicodedata.normalize("NFKC", symbol)) != symbol
    and any(character.isalnum() for character in form)
)
"""Symbols with letters or digits as their compatibility form: ™ ² ½ ① ㎏ …"""

_KEYCAP: Final = "\u20e3"
_SYMBOL: Final = regex.compile(rf"(?:[{''.join(_SYMBOLS)}]|[0-9](?={_KEYCAP}))\p{{M}}*")


def fold(text: str) -> str:
    """NFKC and full case folding of a `visible` text, repeated until nothing changes.

    The four letters i of Turkish become one, because case folding in Turkish and in other
    languages together makes all of them equal.
    """
    for _ in range(_ROUNDS):
        folded = seen(unicodedata.normalize("NFKC", text).casefold().replace(_DOT, "i"))
        if folded == text:
            break
        text = folded
    for parts, vowel in _SPLIT_VOWELS:
        text = text.replace(parts, vowel)
    return _LONE_MARK.sub(DOTTED_CIRCLE, text)


def separated(text: str) -> str:
    """The text with a `BREAK` around each symbol that NFKC turns into letters or digits.

    Such a symbol touches a word (Windows™, footnote¹), and yet a reader sees where the word ends.
    """
    if _KEYCAP not in text and _SYMBOLS.isdisjoint(text):
        return text
    return _SYMBOL.sub(rf"{BREAK}\g<0>{BREAK}", text)
