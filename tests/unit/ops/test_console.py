"""Output of the commands on a narrow terminal."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from ops.console import table_with

_PLACE = "im.messages:3:123456"
_REASON = "Object missing required field `conv_id`"
_URL = "https://hooks.example/a-long-path/of-one-word"


def shown(width: int) -> str:
    """Return a table of the width, with a place, a sentence and a long word."""
    table = table_with("record", "reason", "url", whole=["record"])
    table.add_row(_PLACE, _REASON, _URL)
    text = StringIO()
    Console(file=text, width=width).print(table)
    return text.getvalue()


def test_a_place_is_on_one_line() -> None:
    """The place of a record can be copied into the next command from a terminal of 60 columns."""
    assert _PLACE in shown(60)


def test_no_value_is_cut() -> None:
    """A long word continues on the next line, and no character of the values is missing."""
    cells = shown(60)

    assert "\N{HORIZONTAL ELLIPSIS}" not in cells
    assert sorted("".join(cells.split())) == sorted(
        "".join(f"record reason url {_PLACE} {_REASON} {_URL}".split())
    )
