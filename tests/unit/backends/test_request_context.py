"""The ids of a request: only values of the exact form are taken from a record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.processes.request_context import (
    MOST_HEADERS,
    NO_HEADERS,
    known_headers,
    request_id_of,
    sampled_trace,
)

PARENT = f"00-{'a1' * 16}-{'b2' * 8}-01"


def test_the_ids_of_a_request_are_found_among_other_headers() -> None:
    """Both ids are found, whatever other headers a record has."""
    headers = [
        ("x", b"\xff"),
        ("request-id", b"abc-12345"),
        ("n", None),
        ("traceparent", PARENT.encode()),
    ]
    assert known_headers(headers) == ("abc-12345", PARENT)
    assert known_headers([]) is NO_HEADERS


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"short",
        b"a" * 65,
        b"a" * 5_000_000,
        b"abc 12345",
        b"abc\n12345",
        "天气天气天气天气".encode(),
        b"\xff" * 9,
        None,
    ],
)
def test_a_hostile_request_id_is_ignored(value: bytes | None) -> None:
    """A request id of another form, or none, is not taken from a record."""
    assert known_headers([("request-id", value)]) is NO_HEADERS


@pytest.mark.parametrize(
    "given_text",
    [
        PARENT[:-2] + "00",  # not sampled
        PARENT.upper(),
        "01" + PARENT[2:],
        f"00-{'0' * 32}-{'b2' * 8}-01",
        f"00-{'a1' * 16}-{'0' * 16}-01",
        PARENT + "-x",
        "",
        None,
    ],
)
def test_a_trace_that_is_not_sampled_or_not_valid_has_no_spans(given_text: str | None) -> None:
    """Only a valid and sampled ``traceparent`` continues a trace."""
    assert sampled_trace(given_text) is None
    if given_text is not None:
        assert known_headers([("traceparent", given_text.encode())]) is NO_HEADERS


@given(st.lists(st.tuples(st.text(), st.none() | st.binary()), max_size=20))
def test_any_headers_can_be_read(headers: list[tuple[str, bytes | None]]) -> None:
    """No header raises an error, and a value that is found has its form."""
    request_id, trace_parent = known_headers(headers)
    assert request_id is None or request_id_of(request_id) == request_id
    assert trace_parent is None or sampled_trace(trace_parent) == trace_parent


def test_only_the_first_headers_are_read() -> None:
    """A record with a million headers costs no more than one with a few."""
    many = [("x", b"")] * MOST_HEADERS + [("request-id", b"abc-12345")]
    assert known_headers(many) is NO_HEADERS


def test_a_wrong_request_id_is_replaced() -> None:
    """A valid id is used as given; any other is replaced by a new one."""
    assert request_id_of("abc-12345") == "abc-12345"
    assert len({request_id_of(each) for each in (None, "", "a b", "a" * 65)}) == 4
