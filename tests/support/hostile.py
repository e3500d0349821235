"""Hypothesis strategies of malicious record values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from hypothesis import strategies as st

from schemas.codec import encode
from schemas.records import AnyCommand
from tests.support.commands import commands, message

DEEP: Final = (1_100, 5_000, 200_000)
"""Levels of nesting above the decoder's limit."""

_ODD_TEXT: Final = (
    "", "\u0000", "\ud800", "x" * 129, "x" * 5_000, "\u202e", "\ufeff", "\U0001f600" * 128,
    "NaN", "null",
)  # fmt: skip
_ODD_JSON: Final = (
    b"1e400", b"-1e400", b"9" * 30, b"9" * 5_000, b"9223372036854775808", b"-9223372036854775809",
    b"1.5", b"-0", b"NaN", b"Infinity", b"null", b"true", b"[]", b"{}", b'""', b'"\\ud800"',
    b'"\xff"', b'"\xed\xa0\x80"', b"[[[[1]]]]", b"[null]", b'[1,"a"]', b'{"a":{}}',
)  # fmt: skip


def nested(levels: int) -> bytes:
    """A JSON value with this nesting, lists and objects in turn."""
    return b'[{"a":' * (levels // 2) + b"1" + b"}]" * (levels // 2)


def odd_values() -> st.SearchStrategy[bytes]:
    """JSON, or text that resembles JSON, in place of the value of a field."""
    return st.one_of(
        st.sampled_from(_ODD_JSON),
        st.sampled_from(_ODD_TEXT).map(lambda text: json.dumps(text).encode()),
        st.sampled_from((500, *DEEP[:2])).map(nested),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner)
            ),
            max_leaves=10,
        ).map(lambda value: json.dumps(value).encode()),
    )


def mutated(valid: st.SearchStrategy[AnyCommand] = commands) -> st.SearchStrategy[bytes]:
    """A valid command with fields replaced, duplicated or dropped, or with other bytes."""
    return mutated_json(valid.map(lambda command: json.loads(encode(command))))


@st.composite
def mutated_json(draw: st.DrawFn, valid: st.SearchStrategy[dict[str, Any]]) -> bytes:
    """The same changes for any JSON object."""
    fields = [(name.encode(), json.dumps(value).encode()) for name, value in draw(valid).items()]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(fields)))
        known = st.sampled_from([name for name, _ in fields]) if fields else st.just(b"kind")
        name = draw(known | st.sampled_from([b"x", b"\xff", b"v", b"content"]))
        match draw(st.sampled_from(["replace", "add", "drop"])):
            case "replace" if place < len(fields):
                fields[place] = (fields[place][0], draw(odd_values()))
            case "drop" if place < len(fields):
                del fields[place]
            case _:
                fields.insert(place, (name, draw(odd_values())))
    value = b"{" + b",".join(b'"' + name + b'":' + text for name, text in fields) + b"}"
    return draw(st.just(value) | _damaged(value))


@st.composite
def _damaged(draw: st.DrawFn, value: bytes) -> bytes:
    place = draw(st.integers(0, len(value)))
    return value[:place] + draw(st.binary(max_size=4)) + value[place + draw(st.integers(0, 4)) :]


hostile: Final[st.SearchStrategy[bytes | None]] = st.one_of(
    st.none(), st.binary(max_size=64), mutated()
)
"""Any value of a record."""

keys: Final[st.SearchStrategy[bytes | None]] = st.one_of(
    st.none(), st.sampled_from([b"c1", b"c2", b"", b"\xff\xfe", b"k" * 2_000]), st.binary()
)
"""Any key of a record."""

timestamps: Final[st.SearchStrategy[int | None]] = st.one_of(
    st.none(),
    st.integers(0, 10_000),
    st.sampled_from([-1, -(1 << 63), (1 << 63) - 1, 253_402_300_799_999, 253_402_300_800_000]),
)
"""Any timestamp that the broker may report for a record; the client returns -1 as None."""


def worst(members: Sequence[str] = ()) -> list[bytes]:
    """Single values that once stopped a stage, or similar ones."""
    plain = encode(message(1))
    long: dict[str, Any] = {"kind": "k" * 3_000_000}
    return [
        *(plain[:-1] + b',"x":' + nested(levels) + b"}" for levels in DEEP),
        *(b"[" * levels for levels in DEEP),
        json.dumps(long).encode(),
        plain.replace(b'"u0"', b'"' + b"k" * 3_000_000 + b'"'),
        plain[:-1] + b',"x":"' + b"k" * 5_000_000 + b'"}',
        json.dumps({"kind": "add_members", "members": list(members) or ["é" * 200]}).encode(),
    ]
