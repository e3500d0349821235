"""The parts of a load that need no servers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.commands.load import remarks
from ops.load.chat_lines import DEVICE
from ops.load.ledger import Ledger
from ops.load.loader import LoadSummary
from ops.load.source import MAX_INPUT_LINE_BYTES, open_log
from ops.load.waiting import Patience
from schemas.codec import encode
from schemas.errors import ConfigurationError, InvalidLine, RejectionCode, Stalled
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.records import (
    AnyCommand,
    Duplicate,
    FanoutChanged,
    MessageSent,
    Rejected,
    SendMessage,
    TextContent,
)

LINE = {
    "conv": "c",
    "at": "2004-12-25T09:14:00.001+00:00",
    "kind": "message",
    "user": "陈",
    "text": "",
}


def written(path: Path, *lines: dict[str, str]) -> Path:
    """Write the lines to a file; return its path."""
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_is_read_with_and_without_compression(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    """Plain and packed files are read under any name, with empty lines and unknown fields."""
    path = written(tmp_path / "log", LINE | {"text": "你好", "topic": "x"}, LINE)
    path.write_bytes(pack(path.read_bytes() + b"\n \n"))
    with open_log(path) as log:
        lines = list(log)
        assert log.read_bytes == log.size
        assert log.lines == 4
    assert [line.text for line in lines] == ["你好", ""]
    assert lines[0].at.microsecond == 1_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "shout"}, "line 2"),
        ({"user": ""}, "line 2"),
        ({"user": "x" * 129}, "line 2"),
        ({"at": "2004-12-25T09:14:00"}, "line 2"),
        ({"at": "yesterday"}, "line 2"),
        ({"text": None, "body": "secret"}, "line 2: a message needs the field `text`"),
        ({"text": "secret" * MAX_INPUT_LINE_BYTES}, "line 2: longer than"),
    ],
)
def test_a_line_of_another_format_is_named(
    tmp_path: Path, change: dict[str, str | None], reason: str
) -> None:
    """The error has the number of the wrong line and not its text."""
    line = LINE | {"text": "secret"} | change
    given = {name: value for name, value in line.items() if value is not None}
    path = written(tmp_path / "log", LINE, given)
    with open_log(path) as log, pytest.raises(InvalidLine, match=reason) as error:
        list(log)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"secret\n",
        b'{"conv": "secret\n',
        b'"\xff"\n',
        b"[]\n",
        b'{"secret": ' + b"[" * 5_000 + b"]" * 5_000 + b"}\n",
    ],
)
def test_a_line_that_is_not_an_object_is_named(tmp_path: Path, raw: bytes) -> None:
    """A line that is not a JSON object in UTF-8, or nested too deeply, is named by its number."""
    path = written(tmp_path / "log", LINE)
    path.write_bytes(path.read_bytes() + raw)
    with open_log(path) as log, pytest.raises(InvalidLine, match="line 2") as error:
        list(log)
    assert "secret" not in str(error.value)


def test_a_byte_order_mark_and_other_line_ends_are_accepted(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, and a last line without an end are accepted."""
    path = written(tmp_path / "log", LINE, LINE)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n").rstrip())
    with open_log(path) as log:
        assert len(list(log)) == 2


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    """A truncated packed file is an error, and so is a folder in place of a file."""
    path = written(tmp_path / "log", *[LINE] * 1_000)
    path.write_bytes(gzip.compress(path.read_bytes())[:-9])
    with open_log(path) as log, pytest.raises(InvalidLine, match="damaged"):
        list(log)
    with pytest.raises(ConfigurationError), open_log(tmp_path):
        pass


def test_an_uncompressed_file_named_gz_is_refused(tmp_path: Path) -> None:
    """A ``.gz`` file with other content is refused as a whole, without blaming its first line."""
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(b"\x00random\n")
    with pytest.raises(ConfigurationError, match="is not a gzip file"), open_log(path):
        pass


def test_the_report_of_a_load_names_its_own_additions() -> None:
    """The summary lists created conversations, added speakers, and the line of each rejection."""
    summary = LoadSummary(
        created=2, added_speakers=3, rejected={"already_exists": 4, "no_room": 1},
        first_rejected={"no_room": 9, "already_exists": 7},
    )  # fmt: skip
    assert list(remarks(summary)) == [
        "2 conversations were created, open for anybody to join",
        "3 speakers were added: the file has no join for them",
        (
            "line 7: the conversation exists, and this file does not continue it "
            "(already_exists; 4 commands in all)"
        ),
        "line 9: no_room (no_room; 1 commands in all)",
    ]
    assert list(remarks(LoadSummary())) == []


def command(number: int) -> AnyCommand:
    """A command of the load."""
    return SendMessage(
        conv_id="c", sender="ann", device_id=DEVICE, client_msg_id=uuid7(number, 0),
        content=TextContent(text="hi"),
    )  # fmt: skip


def entry(number: int) -> bytes:
    """The entry of a command."""
    return encode(
        MessageSent(
            conv_id="c",
            seq=SeqId(number),
            sender="ann",
            client_msg_id=uuid7(number, 0),
            at=Milliseconds(0),
            content=TextContent(text="hi"),
            mentions=[],
        )
    )


def rejected(number: int, code: RejectionCode, device_id: str = DEVICE) -> bytes:
    """The rejection of a command."""
    return encode(
        Rejected(
            conv_id="c",
            sender="ann",
            device_id=device_id,
            client_msg_id=uuid7(number, 0),
            at=Milliseconds(0),
            code=code,
        )
    )


def test_each_command_is_counted_once() -> None:
    """The first outcome of a command counts; records of other commands do not count."""
    ledger = Ledger(DEVICE)
    for number in range(7):
        ledger.sent(command(number), 10 + number)
    ledger.see_entry(entry(0))
    changed = FanoutChanged(
        conv_id="c", seq=SeqId(9), sender="ann", client_msg_id=uuid7(0, 0), at=Milliseconds(0),
        mode="pull", member_count=1, push_limit=1, push_again_below=1,
    )  # fmt: skip
    ledger.see_entry(encode(changed))
    ledger.see_entry(entry(99))
    ledger.see_entry(b"\xff not ours")
    ledger.see_entry(None)
    assert (ledger.sequenced, len(ledger)) == (1, 6)
    duplicate = Duplicate(
        conv_id="c",
        sender="ann",
        device_id=DEVICE,
        client_msg_id=uuid7(1, 0),
        at=Milliseconds(0),
        seq=SeqId(1),
    )
    ledger.see_sync_record(encode(duplicate))
    ledger.see_sync_record(encode(duplicate))
    ledger.see_sync_record(rejected(2, "stale"))
    ledger.see_sync_record(rejected(3, "not_a_member"))
    # the copy of a retried command: the first one is sequenced
    ledger.see_sync_record(rejected(0, "stale"))
    ledger.see_sync_record(rejected(4, "conflict", device_id="phone"))
    ledger.see_sync_record(entry(5))
    ledger.see_sync_record(None)
    ledger.refused("too_large", 30)
    ledger.refused("too_large", 20)
    assert (ledger.sequenced, ledger.duplicates, ledger.stale) == (1, 1, 1)
    assert ledger.rejected == {"not_a_member": 1, "too_large": 2}
    assert ledger.first_rejected == {"not_a_member": 13, "too_large": 20}
    assert (ledger.settled, len(ledger)) == (6, 3)
    ledger.close()
    assert (ledger.unanswered, len(ledger)) == (3, 0)


def test_patience_starts_again_with_each_progress() -> None:
    """A stage with progress is waited for; without progress for the given time it is `Stalled`."""
    now = 0.0
    patience = Patience("sink-search", 10, clock=lambda: now)
    for step in range(5):
        now += 9
        patience.check(step, "")
    now += 10
    patience.check(4, "")
    now += 1
    with pytest.raises(Stalled, match="sink-search has made no progress for 10 s, with 7 left"):
        patience.check(4, "with 7 left")
