"""Splits messages and search terms into tokens, by the same function.

A token is a piece of text that a reader sees as one:

1. a word: a run of the letters and digits that UAX #29 puts into words, with their marks;
2. a character of a script that is written without spaces (Han, kana, Thai …), with its marks;
3. an emoji with everything joined to it; its skin tones are the next token;
4. any other character, with its marks: each punctuation mark and each symbol.

So a run of a text at word boundaries has the tokens that occur in succession in the text, and only
texts that count as equal have the same tokens. White space is a token, except between two words,
where it only separates the words.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from backends.search_text.characters import BREAK, EMOJI, KINDS, Memo, visible_characters
from backends.search_text.folding import fold, separated

LONGEST_TOKEN: Final = 100
"""Characters. The hash of a longer token is indexed, so that a search finds the whole token."""

SPACE: Final = r"\s"
"""The token of white space. No visible token has a symbol before a letter, so none is equal."""

WORD_END: Final = r"\b"
"""The token between two words that touch."""

TONE: Final = r"\m"
"""Prefix of the token of an emoji's skin tones, which differs from a skin tone without emoji."""

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
    return _spaced(folded) if (folded := fold(visible_characters(character))) else ""


_SPACED: Final = Memo(_spaced)
"""Leaves a letter of a word unchanged and puts spaces around any other character.

`BREAK` counts as white space."""

_SPACED_ASCII: Final = {code: _spaced_ascii(chr(code)) for code in range(0x80)}
"""As `_SPACED`, with folding."""


def readings_of(text: str) -> tuple[str, ...]:
    """The tokens of a text, separated by spaces; empty for a text without a visible character.

    A text has two readings if a symbol touches a word and the compatibility form of the symbol has
    letters or digits: one with the symbol as a part of the word (H₂O is H2O), one with the symbol
    as its own word (Windows™ is Windows and TM). Two digits never become one number.
    """
    if text.isascii():
        tokens = _plain_tokens(text.translate(_SPACED_ASCII))
        return (tokens,) if tokens else ()
    shown = visible_characters(text)
    apart = separated(shown)
    if apart == shown:
        tokens = _tokens(fold(shown))
        return (tokens,) if tokens else ()
    folded = fold(apart.replace(BREAK * 2, BREAK))
    joined = fold(_NOT_BETWEEN_DIGITS.sub("", folded))
    readings = (_tokens(joined), _tokens(folded))
    return tuple(dict.fromkeys(tokens for tokens in readings if tokens))


def has_run(readings: tuple[str, ...], term: tuple[str, ...]) -> bool:
    """Whether a text contains a term, both from `readings_of`. The index gives the same result."""
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
    """The piece itself; for an emoji with skin tones, the emoji and the token of the tones."""
    kinds = piece.translate(KINDS)
    if "T" not in kinds[1:] or kinds[0] != "P":
        return [piece]
    tones = "".join(c for c, kind in zip(piece, kinds, strict=True) if kind == "T")
    return ["".join(c for c in piece if c not in tones), TONE + tones]


def _plain_tokens(spaced: str) -> str:
    """The tokens of a text without marks and emoji, as most texts are: a faster path."""
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
