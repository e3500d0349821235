"""Arguments of `im` that no command can use: one line that says why, and no defect."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from typer.testing import CliRunner

from ops import cli
from ops.commands.app import app
from ops.commands.arguments import utc_ms

_INVALID = 2
_AT_ONE = datetime(2026, 1, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "arguments",
    [
        ["history", "lu\udcffnch", "--as", "bob"],
        ["explain", "\udcff", "lunch", "1"],
        ["webhook", "add", "https://h\udcff.example/"],
    ],
)
def test_an_argument_that_is_not_utf8_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Bytes that are not UTF-8 cannot be in an id or a query: exit code 2 and the argument."""
    monkeypatch.setattr(sys, "argv", ["im", *arguments])

    with pytest.raises(SystemExit) as end:
        cli.main()

    assert end.value.code == _INVALID
    assert capsys.readouterr().err.startswith("im: not UTF-8: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "bob", "lunch", "9223372036854775808"],
        ["explain", "bob", "lunch", "0"],
        ["explain", "", "lunch", "1"],
        ["explain", "bob", "", "1"],
        ["explain", "bob", "c" * 129, "1"],
        ["explain", "bob", "a\nb", "1"],
        ["history", "", "--as", "bob"],
        ["history", "c" * 129, "--as", "bob"],
        ["history", "lunch", "--as", "bob", "--from", "9223372036854775808"],
        ["history", "lunch", "--as", ""],
        ["conversations", ""],
        ["sync", "u" * 129],
        ["search", "noon", "--as", ""],
        ["token", ""],
        ["token", "ann", "--device", ""],
        ["token", "ann", "--hours", "inf"],
        ["token", "ann", "--hours", "100000000"],
    ],
)
def test_a_value_that_no_server_can_have_is_invalid(arguments: list[str]) -> None:
    """Ids have 1 to 128 printable characters, SeqIds 63 bits, tokens an end: exit code 2."""
    assert CliRunner().invoke(app, arguments).exit_code == _INVALID


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 1, 1),  # noqa: DTZ001 - the subject
        datetime(2026, 1, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 6, tzinfo=timezone(timedelta(hours=5))),
    ],
)
def test_a_time_with_an_offset_keeps_its_offset(moment: datetime) -> None:
    """A time without an offset is UTC; a time with an offset is not read as UTC."""
    assert utc_ms(moment) == _AT_ONE.timestamp() * 1000
