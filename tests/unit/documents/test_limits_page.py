"""The table of limits: its numbers are those of the code, and each limit has a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from gateway import bounds
from gateway.http import frames, live_requests, live_socket
from gateway.limits.command_limits import BURST_SECONDS
from gateway.log import wake_ups
from gateway.reads import conversation_list, history, sync_page
from gateway.store.device_port import MAX_DEVICES
from schemas.http import queries
from schemas.push_addresses import MAX_URL_LENGTH
from schemas.records import MAX_ID_LENGTH
from schemas.settings import Settings

ROOT: Final = Path(__file__).parents[3]
DEFAULTS: Final = Settings.model_construct()
ROW: Final = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$")

COMMANDS = "tests/unit/gateway/test_command_limits.py"
SIZES = "tests/security/test_size_limits.py"
PEERS = "tests/security/test_hostile_peers.py"
EDGES = "tests/security/test_edges.py::test_every_parameter_is_checked_at_its_edge_values"
FRAMES = "tests/property/test_frames.py"
WAITS = "tests/unit/gateway/test_wait_http.py::test_waits_are_bounded_and_delay_no_other_request"
HTTP = "tests/unit/gateway/test_gateway_http.py"


class ShownLimit(NamedTuple):
    """The numbers in a row of the table, the setting, and the test at the limit and beyond."""

    numbers: tuple[float, ...]
    test: str
    setting: str = ""


LIMITS: Final[dict[str, ShownLimit]] = {
    "commands of one person": ShownLimit(
        (DEFAULTS.http_commands_per_second, DEFAULTS.http_commands_per_second * BURST_SECONDS),
        f"{COMMANDS}::test_the_commands_of_a_person_are_limited",
        "http_commands_per_second",
    ),
    "commands in one conversation": ShownLimit(
        (
            DEFAULTS.http_conversation_commands_per_second,
            DEFAULTS.http_conversation_commands_per_second * BURST_SECONDS,
        ),
        f"{COMMANDS}::test_the_commands_of_a_conversation_are_limited",
        "http_conversation_commands_per_second",
    ),
    "people that one person adds": ShownLimit(
        (DEFAULTS.http_additions_per_hour,),
        f"{COMMANDS}::test_additions_are_limited",
        "http_additions_per_hour",
    ),
    "people that one command adds": ShownLimit(
        (DEFAULTS.http_members_per_command,),
        f"{COMMANDS}::test_the_members_of_a_command_are_limited",
        "http_members_per_command",
    ),
    "mentions": ShownLimit(
        (DEFAULTS.limits.max_mentions,), f"{SIZES}::test_the_number_of_mentions"
    ),
    "text of a message": ShownLimit(
        (DEFAULTS.max_text_bytes,), f"{SIZES}::test_the_size_of_a_text", "max_text_bytes"
    ),
    "an id": ShownLimit((MAX_ID_LENGTH,), f"{SIZES}::test_the_length_of_an_id"),
    "body": ShownLimit((bounds.MAX_BODY_BYTES,), f"{SIZES}::test_the_size_of_a_body"),
    "path with query": ShownLimit(
        (bounds.MAX_LINE_BYTES,), f"{SIZES}::test_the_length_of_a_request_line"
    ),
    "headers of a request": ShownLimit(
        (bounds.MAX_HEADERS,), f"{SIZES}::test_the_number_of_headers"
    ),
    "incomplete request line": ShownLimit(
        (bounds.MAX_HEAD_BYTES,), f"{SIZES}::test_the_size_of_incomplete_headers"
    ),
    "pipelined requests": ShownLimit(
        (bounds.MAX_PIPELINED_BYTES,), f"{PEERS}::test_requests_do_not_pile_up"
    ),
    "unread bytes": ShownLimit(
        (bounds.MAX_UNSENT_BYTES // 1024,),
        f"{PEERS}::test_unread_pipelined_answers_end_the_connection",
    ),
    "a request as a frame": ShownLimit(
        (frames.MAX_TEXT_BYTES,), f"{FRAMES}::test_only_texts_and_control_frames_pass"
    ),
    "requests of a live connection": ShownLimit(
        (live_requests.MAX_AT_ONCE,),
        "tests/unit/gateway/test_live_requests.py::test_a_connection_has_few_requests_in_flight",
    ),
    "control frames": ShownLimit(
        (frames.MAX_FRAMES, frames.MAX_CONTROL_BYTES),
        f"{FRAMES}::test_only_texts_and_control_frames_pass",
    ),
    "presences": ShownLimit(
        (live_requests.PRESENCE_BURST, live_requests.PRESENCE_SECONDS),
        "tests/unit/gateway/test_push_routes.py::test_many_presences_are_read_slowly",
    ),
    "open connections": ShownLimit(
        (bounds.MAX_CONNECTIONS,), f"{PEERS}::test_connections_in_use_are_bounded"
    ),
    "connections whose": ShownLimit(
        (bounds.MAX_CONNECTIONS_OF_ONE,), f"{PEERS}::test_connections_of_one_person_are_bounded"
    ),
    "requests of one person": ShownLimit(
        (bounds.MAX_REQUESTS_OF_ONE,), f"{SIZES}::test_the_requests_of_a_person_in_progress"
    ),
    "requests of a gateway": ShownLimit(
        (bounds.MAX_REQUESTS,), f"{HTTP}::test_a_request_has_a_time_limit"
    ),
    "waits and live connections of one": ShownLimit((wake_ups.MAX_LISTENERS_OF_ONE,), WAITS),
    "waits and live connections of a gateway": ShownLimit((wake_ups.MAX_LISTENERS,), WAITS),
    "devices": ShownLimit(
        (MAX_DEVICES,),
        "tests/unit/gateway/test_gateway_devices.py::test_a_person_has_a_bounded_number_of_devices",
    ),
    "URL of a push address": ShownLimit(
        (MAX_URL_LENGTH,),
        "tests/unit/gateway/test_push_routes.py::test_an_address_that_cannot_work_is_refused",
    ),
    "conversations in a page": ShownLimit((queries.MAX_CONVERSATIONS,), EDGES),
    "members in a page": ShownLimit((queries.MAX_MEMBERS,), EDGES),
    "entries in a page": ShownLimit((queries.MAX_ITEMS,), EDGES),
    "records in a page": ShownLimit((queries.MAX_RECORDS,), EDGES),
    "hits in a page": ShownLimit((queries.MAX_HITS,), EDGES),
    "readings in an answer": ShownLimit((queries.MAX_POINTS,), EDGES),
    "a page of history": ShownLimit(
        (history.MAX_PAGE_BYTES,),
        "tests/property/test_pages.py::test_history_accounts_for_each_seq_once",
    ),
    "a page of conversations": ShownLimit(
        (conversation_list.MAX_PAGE_BYTES,),
        f"{HTTP}::test_a_page_of_conversations_is_bounded_in_bytes",
    ),
    "a wait": ShownLimit((queries.MAX_WAIT_SECONDS,), EDGES),
    "time until the headers": ShownLimit(
        (bounds.HEAD_SECONDS,), f"{PEERS}::test_missing_headers_end_the_connection"
    ),
    "time until the body": ShownLimit(
        (bounds.BODY_SECONDS,), f"{PEERS}::test_a_slow_body_ends_the_request"
    ),
    "time from the complete body": ShownLimit(
        (bounds.REQUEST_SECONDS,), f"{HTTP}::test_a_request_has_a_time_limit"
    ),
    "a body that no route reads": ShownLimit(
        (bounds.LINGER_SECONDS,), f"{PEERS}::test_a_body_without_an_end_is_cut_off"
    ),
    "time for the peer": ShownLimit(
        (bounds.WRITE_SECONDS,), f"{PEERS}::test_unread_pipelined_answers_end_the_connection"
    ),
    "an idle connection": ShownLimit(
        (bounds.IDLE_SECONDS,), f"{SIZES}::test_an_idle_connection_is_closed"
    ),
    "a live connection that does not read": ShownLimit(
        (live_socket.SLOW_SECONDS,), f"{PEERS}::test_a_websocket_that_never_reads_is_aborted"
    ),
    "the peer's side": ShownLimit(
        (bounds.CLOSE_SECONDS,),
        f"{PEERS}::test_a_websocket_that_does_not_read_its_close_is_aborted",
    ),
}
"""By the first words of the subject, in the order of the table."""


def rows() -> list[tuple[str, str, str, str]]:
    """Return the rows of the table: subject, limit, setting, effect."""
    lines = (ROOT / "docs/limits.md").read_text(encoding="utf-8").splitlines()
    found = [match.groups() for line in lines if (match := ROW.match(line))]
    return [(a, b, c, d) for a, b, c, d in found if a != "subject"]


def names_in(path: str) -> set[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, functions)}


def test_the_table_has_each_limit_once() -> None:
    """The table and the list of limits have the same subjects, in the same order."""
    subjects = [subject for subject, *_ in rows()]
    assert len(subjects) == len(LIMITS)
    for subject, words in zip(subjects, LIMITS, strict=True):
        assert subject.startswith(words)


@pytest.mark.parametrize("number", range(len(LIMITS)), ids=list(LIMITS))
def test_a_row_has_the_numbers_of_the_code(number: int) -> None:
    """A row has the default of each number, and the variable of its setting."""
    limit = list(LIMITS.values())[number]
    _, bound, setting, _ = rows()[number]
    shown = [int(each.replace(",", "")) for each in re.findall(r"\d[\d,]*", bound)]
    assert set(limit.numbers) <= set(shown)
    assert setting == (f"`IM_{limit.setting.upper()}`" if limit.setting else "-")


@pytest.mark.parametrize("words", LIMITS)
def test_a_limit_has_a_test(words: str) -> None:
    """The test of each limit exists."""
    path, _, name = LIMITS[words].test.partition("::")
    assert name in names_in(path)


def test_a_type_of_problem_belongs_to_one_limit() -> None:
    """No two limits of a number or a rate have the same type of problem with 429 or 503."""
    kinds = [
        kind for *_, effect in rows() for kind in re.findall(r"(?:429|503) `([\w-]+)`", effect)
    ]
    assert len(kinds) == len(set(kinds)) >= 9


def test_both_kinds_of_pages_with_records_have_one_size() -> None:
    """The table has one row for pages of history and of sync timelines."""
    assert history.MAX_PAGE_BYTES == sync_page.MAX_PAGE_BYTES
