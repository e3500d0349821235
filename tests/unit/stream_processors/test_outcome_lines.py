"""The sequencer's log lines about single commands: rejections and dead letters."""

from __future__ import annotations

from typing import Final

import pytest

from schemas.codec import encode
from schemas.number_types import Milliseconds, Offset
from schemas.records import AnyCommand
from stream_processors.core import decide as decisions
from stream_processors.sequencing.headerless_records import RecordOfRequest
from stream_processors.sequencing.outcome_lines import LINES_PER_SECOND
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress
from tests.support.commands import growing_group, message
from tests.support.log_lines import LogLine, json_lines
from tests.support.sequencing import SMALL_LIMITS, Log, source

REQUEST: Final = "request-12345"
TEXT: Final = "s3cret"


def of_request(offset: int, command: AnyCommand) -> RecordOfRequest:
    """A command with the id of a request, as a record."""
    key, value = command.conv_id.encode(), encode(command)
    return RecordOfRequest(Offset(offset), Milliseconds(1), key, value, REQUEST, None)


def lines_of(lane: Sequencer, *records: RecordOfRequest) -> list[LogLine]:
    """The log lines while a lane processes records."""
    with json_lines() as lines:
        for record in records:
            lane.process(record, Log())
    for line in lines:
        del line["time"]
    return lines


def a_lane() -> Sequencer:
    """A lane without a state."""
    return Sequencer(SMALL_LIMITS, Conversations(), LaneProgress())


def test_a_rejection_is_logged_with_its_request() -> None:
    """A line has the code, the place of the command, and the id of its request.

    The id of a conversation that does not exist is not in the line: it may be any text.
    """
    create, unknown_conversation = growing_group(1)[0], message(1, conv_id="c2")
    known, unknown = lines_of(
        a_lane(),
        of_request(0, create),
        of_request(1, message(1, sender="stranger")),
        of_request(2, unknown_conversation),
    )
    assert known == unknown | {"offset": 1, "code": "not_a_member", "conv_id": "c1"}
    assert unknown == {
        "level": "info", "logger": "stream_processors.sequencing.outcome_lines",
        "event": "a command is rejected", "process": "test", "request_id": REQUEST,
        "partition": 0, "offset": 2, "code": "unknown_conversation",
    }  # fmt: skip


def test_an_accepted_command_and_a_duplicate_have_no_line() -> None:
    """Normal outcomes are not logged: there may be thousands a second."""
    create = growing_group(1)[0]
    assert lines_of(a_lane(), of_request(0, create), of_request(1, create)) == []


def test_a_dead_letter_is_logged_with_its_request() -> None:
    """A line has the reason and the id of the request, and nothing of the record."""
    poison = RecordOfRequest(
        Offset(0), Milliseconds(1), TEXT.encode(), TEXT.encode(), REQUEST, None
    )
    (line,) = lines_of(a_lane(), poison)
    assert line["event"] == "a record is a dead letter: the value is not JSON"
    assert (line["level"], line["request_id"], line["offset"]) == ("warning", REQUEST, 0)
    assert TEXT not in str(line)


def test_a_defect_is_logged_with_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of a defect has its places in the code and the id of the request."""
    lane = a_lane()
    lane.process(source(0, growing_group(1)[0]), Log())

    def fail(*_: object) -> None:
        raise ZeroDivisionError(TEXT[:])

    monkeypatch.setattr(decisions, "_send", fail)
    (line,) = lines_of(lane, of_request(1, message(1)))
    assert (line["level"], line["request_id"]) == ("error", REQUEST)
    assert "it cannot be handled: ZeroDivisionError" in line["event"]
    assert "in fail" in line["event"]
    assert TEXT not in str(line)


def test_a_flood_of_rejections_has_a_limited_number_of_lines() -> None:
    """Rejections beyond the limit of a second are decided without a line."""
    records = [of_request(at, message(at + 1)) for at in range(5 * LINES_PER_SECOND)]
    # The lines of at most two seconds, and one about the lines that were left out.
    assert LINES_PER_SECOND <= len(lines_of(a_lane(), *records)) <= 2 * LINES_PER_SECOND + 1
