"""The letters that `im dead-letter` chooses, and the records that it shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stages.letters import Letter
from ops.dead_letters.chosen_letters import LetterFilter, chosen, page_of
from ops.dead_letters.sent_again import LetterContent, refusal_of
from ops.dead_letters.shown_record import SHOWN_BYTES, escaped, known_fields
from schemas.codec import encode
from schemas.errors import ConfigurationError
from schemas.number_types import Milliseconds, Offset
from schemas.records import SendMessage, TextContent

TEXT = "only for members"
COMMAND = encode(
    SendMessage(
        conv_id="c", sender="ann", device_id="d", client_msg_id="m", content=TextContent(text=TEXT)
    )
)


def letter(number: int, stage: str = "sink-message", reason: str = "It is bad") -> Letter:
    """Letter ``number``, about the record of the same offset, written at the same time."""
    return Letter(
        stage=stage, reason=reason, topic=f"t{number % 2}", partition=0, offset=Offset(number),
        size=1, at=Milliseconds(number), own_partition=3, own_offset=Offset(number),
    )  # fmt: skip


def numbers(letters: list[Letter]) -> list[int]:
    """The numbers of letters."""
    return [each.offset for each in letters]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (LetterFilter(), [0, 1, 2, 3]),
        (LetterFilter(stage="sink-search"), [3]),
        (LetterFilter(reason="IS BAD"), [0, 1, 2]),
        (LetterFilter(topic="t1"), [1, 3]),
        (LetterFilter(since=Milliseconds(1), until=Milliseconds(3)), [1, 2]),
        (LetterFilter(places=["t0:0:2"]), [2]),
    ],
)
def test_a_filter_chooses_letters(by: LetterFilter, expected: list[int]) -> None:
    """Each field of a filter removes letters."""
    letters = [*map(letter, range(3)), letter(3, "sink-search", "closed")]

    assert numbers(chosen(letters, by)) == expected


def test_an_unknown_place_is_an_error() -> None:
    """A typing error in a place does not look like success."""
    with pytest.raises(ConfigurationError, match="t0:0:9"):
        chosen([letter(0)], LetterFilter(places=["t0:0:9"]))


def test_pages_have_all_letters_once() -> None:
    """Each page continues after the last letter of the page before."""
    letters = [letter(number) for number in range(5)]
    found: list[int] = []
    after: str | None = None
    for _ in range(3):
        page = page_of(letters, after, 2)
        found += [each.offset for each in page.letters]
        after = page.following
    assert found == [0, 1, 2, 3, 4]
    assert after is None
    with pytest.raises(ConfigurationError, match="--after"):
        page_of(letters, "3:77", 2)


@given(st.binary(max_size=300))
def test_escaped_bytes_have_no_control_characters(value: bytes) -> None:
    """No byte of a record reaches the terminal as a control character."""
    assert escaped(value).isprintable()


def test_a_text_is_readable_and_a_long_value_is_cut() -> None:
    """Printable characters of all scripts are shown as they are."""
    assert escaped("早上 ok\x1b[2J\n".encode()) == "早上 ok\\x1b[2J\\n"
    assert escaped(b"\xff\\") == "\\xff\\\\"
    assert escaped(b"x" * (SHOWN_BYTES + 5)).endswith("… and 5 more bytes")
    assert escaped(None) == "null"


@pytest.mark.parametrize("value", [b"[]", b"{", None, b"[" * 100_000, b"\xff"])
def test_a_value_that_is_no_object_shows_no_fields(value: bytes | None) -> None:
    """Any bytes are accepted."""
    assert known_fields(value) == {}


def test_known_fields_have_no_text() -> None:
    """The ids of a command are shown, its text and its mentions are not."""
    shown = known_fields(COMMAND)

    assert shown["sender"] == "ann"
    assert TEXT not in str(shown)


def test_only_a_command_is_sent_again() -> None:
    """The sequencer would put the other records aside again."""
    assert refusal_of(LetterContent(b"c", COMMAND, [])) == ""
    assert refusal_of(LetterContent(b"another", COMMAND, []))
    assert refusal_of(LetterContent(b"c", b"{}", []))
    assert refusal_of(LetterContent(None, None, []))
