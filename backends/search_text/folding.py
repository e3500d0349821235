"""The form in which two texts are compared: width, case and compatibility forms made equal."""

from __future__ import annotations

import unicodedata
from typing import Final

import regex

from backends.search_text.characters import BREAK, DOTTED_CIRCLE, seen

_ROUNDS: Final = 6
"""Upper bound of the rounds, so that folding ends. No text needs this number of rounds."""

_DOT: Final = "i\u0307"
"""Small i with a dot above: the case folding of the Turkish capital letter with a dot."""

_SPLIT_VOWELS: Final = (("\u0e4d\u0e32", "\u0e33"), ("\u0ecd\u0eb2", "\u0eb3"))
"""The two characters into which NFKC splits the Thai and Lao vowel AM, and the vowel itself."""

_LONE_MARK: Final = regex.compile(r"(?<![^\s\uFDD0])(?=\p{M})")
"""The position before a mark at the start of the text or after white space."""

_OF_WORDS: Final = frozenset({"L", "M", "Nd", "Nl"})
"""Categories of characters that belong to the word that they touch."""

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

    The four Turkish letters i become one letter, because the case foldings of Turkish and of other
    languages together make all four equal.
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

    Such a symbol touches a word (Windows™, footnote¹), but a reader sees the end of the word.
    """
    if _KEYCAP not in text and _SYMBOLS.isdisjoint(text):
        return text
    return _SYMBOL.sub(rf"{BREAK}\g<0>{BREAK}", text)
