"""Values at the limits of their types, from the OpenAPI document, never give a status of 500."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.http.http_app import writes_to
from gateway.http.openapi import document
from gateway.reads.search_terms import from_cursor, to_cursor
from tests.support.edges import NO_NUMBERS, Asked, filled, requests
from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message
from tests.support.sequenced_log import SequencedLog

SETTINGS = token_settings(
    operators="ann",
    http_commands_per_second=1_000_000,
    http_conversation_commands_per_second=1_000_000,
    http_additions_per_hour=1_000_000,
)
IDS = {
    "/v1/devices/{id}": "phone",
    "/v1/devices/{id}/cursor": "phone",
    "/v1/devices/{id}/conversations": "phone",
    "/v1/devices/{id}/push": "phone",
}


@pytest.fixture
async def gateway() -> AsyncIterator[Caller]:
    """A gateway where ann has a conversation, a record and a device."""
    store = FakeStore()
    store.put_conversation("c", 1)
    store.put_change("ann", "c", 1, joined=True)
    store.put_message(message("c", 1))
    store.put_synced("ann", 1, message("c", 1))
    log = SequencedLog()
    writes = writes_to(SETTINGS, log)
    log.feed(writes.waiters)
    async with serving(SETTINGS, store, FakeIndex(), writes=writes) as caller:
        made = await caller.write("POST", "/v1/conversations", "ann", conv_id="c", members=[])
        assert made.status == 201
        body = json.dumps({"device_id": "phone"}).encode()
        assert (await caller.send("POST", "/v1/devices", "ann", body)).status == 200
        yield caller


async def test_every_parameter_is_checked_at_its_edge_values(gateway: Caller) -> None:
    """An allowed value is answered, any other value is a 400, and none is a 500.

    The status of each answer is in the document.
    """
    wrong = [
        (answer_status, asked)
        for asked in requests(IDS)
        if not is_right(asked, answer_status := await status(gateway, asked))
    ]
    assert wrong == []


async def status(gateway: Caller, asked: Asked) -> int:
    """Return the status of the answer."""
    return (await gateway.send(asked.method, asked.path, "ann", asked.body)).status


def is_right(asked: Asked, answered: int) -> bool:
    """Return whether a request may get this status."""
    if asked.fits is False:
        return answered == 400
    if asked.fits:
        return answered in {200, 404, 409} or is_rejected_mark(asked, answered)
    return answered in {200, 201, 400, 403, 404, 409}


def is_rejected_mark(asked: Asked, answered: int) -> bool:
    """Return whether the sequencer has refused a read mark or a mute.

    A mark beyond the head is refused, and both after a leave.
    """
    marks = {"/v1/conversations/c/read": {400, 403}, "/v1/conversations/c/mute": {403}}
    return answered in marks.get(asked.path, ())


async def test_the_edges_of_every_operation_are_tried() -> None:
    """Each parameter and body in the document has cases."""
    tried = Counter(asked.path.partition("?")[0] for asked in requests({}))
    for path, methods in document()["paths"].items():
        has_values = any(
            "requestBody" in each or any(p["in"] == "query" for p in each["parameters"])
            for each in methods.values()
        )
        if has_values and path != "/v1/live":
            assert tried[filled(path)] > 50, path


@given(st.text(max_size=300))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_a_cursor_or_is_refused(text: str) -> None:
    """Any text is a cursor with a round trip, or a `ValueError`."""
    try:
        place = from_cursor(text)
    except ValueError:
        return
    assert from_cursor(to_cursor(place)) == place


@pytest.mark.parametrize("value", NO_NUMBERS)
async def test_a_live_connection_checks_numbers_in_the_same_way(
    gateway: Caller, value: str
) -> None:
    """The cursor of a WebSocket is checked like that of a page, before the upgrade."""
    answer = await gateway.ask("/v1/live", "ann", {"after": value})
    assert answer.status == (426 if value in {"00", "-0"} else 400)
