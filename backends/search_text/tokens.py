"""From a text to the tokens that are indexed, and to those of a search term: the same function.

A token is what a reader sees as one piece:

1. a word: a run of the letters and digits that UAX #29 puts into words, with their marks;
2. a character of a script that is written without spaces (Han, kana, Thai …), with its marks;
3. an emoji with all that is joined to it; its skin tones are a token behind it;
4. any other character, with its marks: each punctuation mark and each symbol.

So the tokens of a run of whole pieces are a run of the tokens of its text, and nothing else has
the same tokens. White space is a token except between two words, which it always separates.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from backends.search_text.characters import BREAK, EMOJI, KINDS, Memo, visible
from backends.search_text.folding import fold, separated

LONGEST_TOKEN: Final = 100
"""Characters. A longer token is indexed by its hash, so that it is found as a whole."""

SPACE: Final = r"\s"
"""The token of white space. No visible token has two characters of which one is a symbol."""

WORD_END: Final = r"\b"
"""The token between two words that touch."""

TONE: Final = r"\m"
"""Begins the token of an emoji's skin tones, which is not that of a skin tone alone."""

_HASH: Final = r"\h"

_PIECE: Final = re.compile(f"(W[WM]*)|(S+)|(B)|(?:{EMOJI}|RR|.)M*", re.DOTALL)
"""In `KINDS`. Groups: a word, white space, a `BREAK`; without a group: any other token."""

_WORD, _SPACE, _BREAK = 1, 2, 3

_COMPOSED: Final = frozenset("MPTRBvjte")

_NOT_BETWEEN_DIGITS: Final = re.compile(rf"(?<!\d){BREAK}|{BREAK}(?!\d)")

_BETWEEN_WORDS: Final = re.compile(rf"(?<=[^ {BREAK}]){BREAK}+(?=[^ {BREAK}])")
_OTHER_SPACE: Final = re.compile(f"{BREAK}+")


def _spaced(character: str) -> str:
    kind = character.translate(KINDS)
    if kind == "S":
        return BREAK
    return character if kind == "W" else f" {character} "


def _spaced_ascii(character: str) -> str:
    return _spaced(folded) if (folded := fold(visible(character))) else ""


_SPACED: Final = Memo(_spaced)
"""A letter of a word as it is, any other character between spaces; `BREAK` is white space."""

_SPACED_ASCII: Final = {code: _spaced_ascii(chr(code)) for code in range(0x80)}
"""As `_SPACED`, and folded."""


def readings_of(text: str) -> tuple[str, ...]:
    """The tokens of a text, with a space between two of them; empty without a visible character.

    There are two readings of a text in which a symbol touches a word and has letters or digits as
    its compatibility form: as a part of the word (H₂O is H2O), and as a word of its own
    (Windows™ is Windows and TM). Two digits never become one number.
    """
    if text.isascii():
        tokens = _plain_tokens(text.translate(_SPACED_ASCII))
        return (tokens,) if tokens else ()
    shown = visible(text)
    apart = separated(shown)
    if apart == shown:
        tokens = _tokens(fold(shown))
        return (tokens,) if tokens else ()
    folded = fold(apart.replace(BREAK * 2, BREAK))
    joined = fold(_NOT_BETWEEN_DIGITS.sub("", folded))
    found = (_tokens(joined), _tokens(folded))
    return tuple(dict.fromkeys(tokens for tokens in found if tokens))


def has_run(readings: tuple[str, ...], term: tuple[str, ...]) -> bool:
    """Whether a text contains a term, both as `readings_of` gives them: what the index answers."""
    return any(f" {run} " in f" {tokens} " for run in term for tokens in readings)


def _tokens(folded: str) -> str:
    if _COMPOSED.isdisjoint(folded.translate(KINDS)):
        return _plain_tokens(folded.translate(_SPACED))
    tokens: list[str] = []
    gap, after_word = "", False
    for piece in _PIECE.finditer(folded.translate(KINDS)):
        if piece.lastindex == _SPACE:
            gap = SPACE
        elif piece.lastindex == _BREAK:
            gap = gap or WORD_END
        else:
            is_word = piece.lastindex == _WORD
            if gap and tokens and (after_word and is_word) is (gap == WORD_END):
                tokens.append(gap)
            tokens += _without_tones(folded[piece.start() : piece.end()])
            gap, after_word = "", is_word
    return _bounded(" ".join(tokens))


def _without_tones(piece: str) -> list[str]:
    """The piece, or an emoji without its skin tones and the token of the skin tones."""
    kinds = piece.translate(KINDS)
    if "T" not in kinds[1:] or kinds[0] != "P":
        return [piece]
    tones = "".join(c for c, kind in zip(piece, kinds, strict=True) if kind == "T")
    return ["".join(c for c in piece if c not in tones), TONE + tones]


def _plain_tokens(spaced: str) -> str:
    """The tokens of a text without marks and emoji, which most are: the same, but faster."""
    if BREAK in spaced:
        spaced = _BETWEEN_WORDS.sub(" ", spaced.strip(BREAK))
        spaced = _OTHER_SPACE.sub(r" \\s ", spaced)
    return _bounded(" ".join(spaced.split()))


def _bounded(tokens: str) -> str:
    if len(tokens) <= LONGEST_TOKEN:
        return tokens
    return " ".join(
        token if len(token) <= LONGEST_TOKEN else _hash(token) for token in tokens.split(" ")
    )


def _hash(token: str) -> str:
    return _HASH + hashlib.sha256(token.encode()).hexdigest()
