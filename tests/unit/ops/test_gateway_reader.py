"""The pages that `im` reads from the gateway, on a store in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

import msgspec
import pytest
from yarl import URL

from ops import gateway_reader
from ops.gateway_reader import GatewayReader
from schemas.errors import RequestRefused
from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message

LAST = 7


@asynccontextmanager
async def reading() -> AsyncIterator[tuple[GatewayReader, Caller]]:
    """Ann's reader of a gateway, and a caller of the same gateway."""
    store, index = FakeStore(), FakeIndex()
    for name in ("a", "c"):
        store.put_conversation(name, LAST, "pull")
        store.put_change("ann", name, 2, joined=True)
    for seq in range(2, LAST + 1):
        store.put_synced("ann", seq, message("c", seq, text=f"word {seq}"))
    index.messages = [message("c", seq, text=f"word {seq}") for seq in range(2, LAST + 1)]
    async with serving(token_settings(), store, index) as caller:
        base = URL(caller.base)
        settings = token_settings(gateway_host=base.host, gateway_port=base.port)
        yield GatewayReader(settings, "ann", caller.http), caller


async def test_all_pages_are_read() -> None:
    """Each list has the items of all pages, in the gateway's order, up to the given number."""
    with (
        patch.object(gateway_reader, "PAGE", 2),
        patch.object(gateway_reader, "MAX_HITS", 2),
        patch.object(gateway_reader, "MAX_CONVERSATIONS", 1),
    ):
        async with reading() as (reader, _):
            items = [json.loads(bytes(item)) async for item in reader.history("c", None, None)]
            assert items[0] == {"hole": "hidden", "from": 1, "to": 1}
            assert [item["seq"] for item in items[1:]] == [2, 3, 4, 5, 6, 7]
            assert [one.conv_id async for one in reader.conversations()] == ["a", "c"]
            assert [one.sync_seq async for one in reader.sync(3, None)] == [4, 5, 6, 7]
            assert [one.sync_seq async for one in reader.sync(None, 3)] == [2, 3, 4]
            hits = [json.loads(bytes(hit))["seq"] async for hit in reader.search("word", 3)]
            assert hits == [7, 6, 5]


async def test_a_conversation_is_encoded_as_the_gateway_encodes_it() -> None:
    """`im conversations --json` prints the bytes of the gateway's response."""
    async with reading() as (reader, caller):
        shown = [msgspec.json.encode(one) async for one in reader.conversations()]
        headers = caller._headers("ann", {})  # noqa: SLF001 - the raw bytes are compared
        async with caller.http.get(f"{caller.base}/v1/conversations", headers=headers) as response:
            body = await response.read()
    assert b",".join(shown) in body
    assert len(shown) == 2


async def test_a_refusal_has_the_gateways_reason() -> None:
    """A refused request is a `RequestRefused` with the status and the detail."""
    async with reading() as (reader, _):
        with pytest.raises(RequestRefused, match="no such conversation") as refused:
            _ = [item async for item in reader.history("unreal", None, None)]
        assert refused.value.status == 404
