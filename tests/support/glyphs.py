"""The glyphs that a reader sees, and the spellings of each glyph.

The model of the search rule. The model uses no Unicode properties: each glyph states its kind, and
the spellings of a glyph look alike or differ only in width, case or form.
"""

# ruff: noqa: E501, RUF001 - a glyph is a line, and has spellings that look alike

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple

Kind = Literal["letter", "single", "space"]


class Glyph(NamedTuple):
    """One unit that a reader sees. Consecutive letters form a word."""

    kind: Kind
    spellings: tuple[str, ...]


SPACE: Final = Glyph(
    "space", (" ", "  ", "\t", "\n", "\r\n", "\u3000", "\u00a0", "\u2009", "\u202f", "\u2028")
)

LETTERS: Final = [
    Glyph("letter", spellings)
    for spellings in (
        ("a", "A", "ａ", "Ａ", "𝐚", "𝔸", "ª"),
        ("e", "E", "ｅ"),
        ("é", "É", "e\u0301", "E\u0301", "e\u034f\u0301"),
        ("i", "I", "İ", "ı", "I\u0307"),
        ("ss", "SS", "ß", "ẞ", "ſs"),
        ("σ", "ς", "Σ"),
        ("я", "Я"),
        ("1", "１", "𝟏", "𝟙"),
        ("2", "２"),
        ("가", "\u1100\u1161"),
        ("각", "\u1100\u1161\u11a8", "가\u11a8"),
        ("ש",),
        ("م", "ﻣ", "م\u0640"),
        ("हि",),
        ("viii", "VIII", "Ⅷ", "ⅷ"),
        ("ffi", "ﬃ", "FFI"),
    )
]  # fmt: skip

TONE: Final = "\U0001f3fd"
"""The skin tone of a glyph of `SINGLES`."""

SINGLES: Final = [
    Glyph("single", spellings)
    for spellings in (
        ("海",), ("东",), ("豈", "\uf900"), ("葛", "葛\U000e0100", "葛\ufe00"), ("𰻞",), ("𠮷",), ("\U00031350",), ("々",), ("〇",),
        ("か",), ("が", "か\u3099"), ("カ", "ｶ"), ("ガ", "ｶﾞ", "カ\u3099"), ("ー", "ｰ"), ("ゝ",), ("ㄅ",),
        ("ก",), ("น้ำ",), ("แ",), ("ລ",), ("ម",), ("က",), ("ꀀ",), ("𗀀",),
        (".", "．", "\u2024"), (",", "，"), (":", "：", "∶"), (";", "；"), ("!", "！"), ("?", "？"), ("。", "｡"), ("、", "､"), ("·",), ("_", "＿"),
        ("@", "＠"), ("#", "＃"), ("+", "＋"), ("/", "／", "⁄", "∕"), ("=", "＝"), ("$", "＄"), ("€",), ("%", "％"), ("\\", "＼"), ("^",), ("&", "＆"), ("*", "＊"),
        ("'", "’", "‘", "ʼ", "`", "´", "′", "＇", "׳"),
        ('"', "“", "”", "„", "«", "»", "″", "＂", "״"),
        ("-", "–", "—", "‑", "−", "－", "―"), ("~", "〜", "～"),
        ("「", "｢", "﹁"), ("」", "｣"), ("(", "（"), (")", "）"), ("¯", "￣"), ("¨",),
        ("✓",), ("→",), ("©", "©\ufe0f"), ("™", "™\ufe0f"), ("③",), ("㎏",), ("\ufffd",), ("\ue000",), ("␣",),
        ("❤", "❤\ufe0f", "❤\ufe0e"), ("👍",), ("👍" + TONE,), ("👩",), ("👨\u200d👩\u200d👧",), ("❤\ufe0f\u200d🔥", "❤\u200d🔥"),
        ("🇩🇪",), ("🇪🇫",), ("4\ufe0f\u20e3", "4\u20e3"), ("🏴",), ("🏴\U000e0067\U000e0062\U000e007f",),
    )
]  # fmt: skip

JUNK: Final = (
    "",
    "\u200b",
    "\u00ad",
    "\u200e",
    "\u202a",
    "\u2069",
    "\u061c",
    "\ufeff",
    "\u2060",
    "\u034f",
    "\U000e0001",
    "\x00",
    "\x1b",
    "\ufdd0",
    "\ufff9",
    "\u115f",
    "\ufe0f",
)
"""Characters that are invisible at every position."""


def collapsed(glyphs: Sequence[Glyph]) -> list[Glyph]:
    """Removes leading and trailing spaces, and collapses repeated spaces."""
    padded = [SPACE, *glyphs]
    shown = [glyph for before, glyph in pairwise(padded) if (before, glyph) != (SPACE, SPACE)]
    return shown[:-1] if shown[-1:] == [SPACE] else shown


def is_seen(wanted: Sequence[Glyph], text: Sequence[Glyph]) -> bool:
    """Whether a text shows a run of glyphs that begins and ends at word boundaries.

    The last glyph of the run may lack the skin tone that the text shows (docs/search.md).
    """
    run, shown = collapsed(wanted), collapsed(text)
    return any(
        _fits(run, shown[at : at + len(run)]) and is_boundary(shown, at) and is_boundary(shown, at + len(run))
        for at in range(len(shown) - len(run) + 1)
    )  # fmt: skip


def _fits(run: Sequence[Glyph], part: Sequence[Glyph]) -> bool:
    if not run or run == part:
        return True
    toned = run[-1].spellings[0] + TONE
    return [*run[:-1], toned] == [*part[:-1], part[-1].spellings[0]]


def is_boundary(shown: Sequence[Glyph], at: int) -> bool:
    """Whether ``at`` is not inside a word."""
    return not 0 < at < len(shown) or {shown[at - 1].kind, shown[at].kind} != {"letter"}
