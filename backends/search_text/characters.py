"""Characters that a search treats as equal, and characters that a reader does not see.

Three tables: typographic variants, spacing marks, and characters that are removed from a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

import regex

BREAK: Final = "\ufdd0"
"""Marks the end of a word. A noncharacter, which `visible_characters` removes from every text."""

DOTTED_CIRCLE: Final = "\u25cc"
"""The character that Unicode draws under a mark without a letter."""

_VARIANTS: Final = {
    "'": "\u2018\u2019\u201a\u201b\u2032\u2035\u2039\u203a\u275b\u275c`\u00b4\u02b9\u02bb\u02bc"
    "\u02bd\u02be\u02bf\u02c8\u02ca\u02cb\u0374\u055a\u05f3\u07f4\u07f5\u1fbd\u1fbf\u1fef\u1ffd"
    "\u1ffe\ua78c\uff07\uff40",
    '"': "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\u275d\u275e\u301d\u301e\u301f\u02ba"
    "\u02dd\u02ee\u05f4\uff02\U0001f676\U0001f677\U0001f678",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u2e3a\u2e3b\ufe58\ufe63\uff0d\u058a"
    "\u05be\u1806",
    "~": "\u02dc\u223c\u301c\uff5e",
    "/": "\u2044\u2215\uff0f",
    ":": "\u2236\ua789\uff1a",
    "\u300c": "\ufe41\uff62",
    "\u300d": "\ufe42\uff63",
    "\u300e": "\ufe43",
    "\u300f": "\ufe44",
    "i": "\u0131",  # without a dot; `fold` handles the letter with a dot
}
"""The typographic variants of each indexed character."""


def _spacing_marks() -> dict[int, str]:
    """Spacing marks, mapped to the same mark on `DOTTED_CIRCLE`.

    NFKC would turn a spacing mark into a space and a mark, but a reader sees no space.
    """
    forms = ((code, unicodedata.normalize("NFKC", chr(code))) for code in range(0xA0, 0xFFFF))
    return {code: DOTTED_CIRCLE + form[1:] for code, form in forms if form[0] == " " and form[1:]}


_ALIKE_FORMS: Final = _spacing_marks() | {
    ord(variant): shown for shown, variants in _VARIANTS.items() for variant in variants
}
"""The replacement of a character, by code point."""


class Memo(dict[int, str]):
    """A table for `str.translate` that calls a function once for each character."""

    def __init__(self, value_of: Callable[[str], str]) -> None:
        super().__init__()
        self._value_of = value_of

    def __missing__(self, code: int) -> str:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        value = self[code] = self._value_of(chr(code))
        return value


_MOST_REMEMBERED: Final = 1 << 16
"""Maximum number of characters in a memo, some 8 MB."""

_KINDS: Final = regex.compile(
    r"(?P<B>\uFDD0)"
    r"|(?P<v>[\uFE00-\uFE0F\U000E0100-\U000E01EF])"
    r"|(?P<j>\u200D)"
    r"|(?P<t>[\U000E0020-\U000E007E])"
    r"|(?P<e>\U000E007F)"
    r"|(?P<S>\p{White_Space})"
    r"|(?P<u>[\p{DI}\p{Cc}\p{Cs}\uFFF9-\uFFFB\u0640\u07FA\p{Noncharacter_Code_Point}])"
    r"|(?P<P>\p{ExtPict})"
    r"|(?P<T>\p{EMod})"
    r"|(?P<R>\p{RI})"
    r"|(?P<M>[\p{M}\u0E33\u0EB3])"
    r"|(?P<W>[[\p{WB=ALetter}\p{WB=Hebrew_Letter}\p{WB=Numeric}]--[\p{P}\p{S}]"
    r"--[\p{scx=Hani}\p{scx=Hira}\p{scx=Kana}\p{Bopomofo}\p{Yi}\p{Tangut}\p{Nushu}\p{Khitan_Small_Script}"
    r"\p{lb=SA}\p{lb=AK}\p{lb=AP}\p{lb=AS}]])"
    r"|(?P<X>.)",
    regex.V1 | regex.DOTALL,
)


def _kind_of(character: str) -> str:
    match = _KINDS.match(character)
    return str(match and match.lastgroup)


KINDS: Final = Memo(_kind_of)
"""For `str.translate`: one letter for each character, so that `re` can find the pieces of a text.

Not seen alone: ``v`` variation selector, ``j`` ZWJ, ``t`` tag, ``e`` end of tags, ``u`` the rest.
Seen: ``B`` `BREAK`, ``S`` white space, ``P`` picture, ``T`` skin tone, ``R`` half of a flag,
``M`` mark of the character before, ``W`` letter or digit of a word (UAX #29), ``X`` any other.
"""

EMOJI: Final = "PT?(?:t+e)?(?:jPT?(?:t+e)?)*"
"""A pattern of kinds: a picture with its skin tone and tags, joined with others by ZWJ."""

_UNSEEN: Final = re.compile(f"({EMOJI})|[vjteu]+")
_ALIKE: Final = Memo(lambda character: _ALIKE_FORMS.get(ord(character), character))


def visible_characters(text: str) -> str:
    """The text without the characters that a reader does not see, and with variants made equal.

    Not seen: default ignorable code points except the parts of an emoji sequence, variation
    selectors, control characters, and the stretching of Arabic letters (tatweel).
    """
    return seen(text.replace(BREAK, ""))


def seen(text: str) -> str:
    """As `visible_characters`, but without the removal of `BREAK`."""
    kinds = text.translate(KINDS)
    if "v" in kinds:
        text = "".join(c for c, kind in zip(text, kinds, strict=True) if kind != "v")
        kinds = kinds.replace("v", "")
    if not kinds.isupper():
        text = _without_unseen(text, kinds)
    return text.translate(_ALIKE)


def _without_unseen(text: str, kinds: str) -> str:
    shown: list[str] = []
    end = 0
    for match in _UNSEEN.finditer(kinds):
        if match[1] is None:
            shown.append(text[end : match.start()])
            end = match.end()
    shown.append(text[end:])
    return "".join(shown)
