"""Read the conversations back through the gateway, as their members see them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Raw

from ops.demo.events import HistoryRead, PageLink, PipelineLink, Reachable, SearchHits
from ops.demo.play import Played
from ops.demo.script import QUERY, READERS, SEARCHER
from ops.deployment.endpoints import gateway_address
from ops.gateway_reader import GatewayReader
from schemas.settings import Settings

STORED_SECONDS: Final = 30.0
"""Limit for an entry to be stored and found, including a refresh of the index."""

_PAUSE_SECONDS: Final = 0.3
_MOST_HITS: Final = 200


async def read_back(settings: Settings, played: Played) -> list[HistoryRead | SearchHits]:
    """Each conversation as a member reads it from the store, and the hits of a search.

    Raises:
        ServerUnavailable: The gateway does not answer.
        RequestRefused: The gateway refuses a request.
    """
    async with aiohttp.ClientSession() as http:
        read = [
            await _history(GatewayReader(settings, reader, http), reader, name, played)
            for name, reader in READERS.items()
        ]
        return [*read, await _search(GatewayReader(settings, SEARCHER, http), played)]


def reachable(settings: Settings, played: Played, token: str) -> Reachable:
    """The address of the gateway, and a command with a token."""
    address = f"http://{gateway_address(settings)}"
    path = f"/v1/conversations/{quote(played.ids['team'], safe='')}/messages"
    return Reachable(
        address=address, command=f"curl -H 'Authorization: Bearer {token}' '{address}{path}'"
    )


def page_link(settings: Settings, person: str, token: str) -> PageLink:
    """A link to the page that signs a person in."""
    return PageLink(person=person, link=f"http://{gateway_address(settings)}/#token={token}")


def pipeline_link(settings: Settings, operator: str, token: str) -> PipelineLink:
    """A link to the page about the pipeline that signs an operator in."""
    address = f"http://{gateway_address(settings)}"
    return PipelineLink(operator=operator, link=f"{address}/pipeline#token={token}")


async def _history(gateway: GatewayReader, reader: str, name: str, played: Played) -> HistoryRead:
    conv_id = played.ids[name]
    sent = {
        seq: text for (conversation, seq), text in played.texts.items() if conversation == conv_id
    }

    def complete(items: list[dict[str, Any]]) -> bool:
        texts = {item["seq"]: item["content"]["text"] for item in items if "content" in item}
        return [item.get("seq") for item in items] == played.seqs(conv_id) and texts == sent

    items, ok = await _until(lambda: gateway.history(conv_id, None, None), complete)
    return HistoryRead(conv_id=conv_id, reader=reader, items=items, ok=ok)


async def _search(gateway: GatewayReader, played: Played) -> SearchHits:
    wanted = {place for place, text in played.texts.items() if QUERY in text}

    def ours(hit: dict[str, Any]) -> bool:
        return hit["conv_id"] in played.ids.values()  # not from an earlier run

    def complete(hits: list[dict[str, Any]]) -> bool:
        return {(hit["conv_id"], hit["seq"]) for hit in hits if ours(hit)} == wanted

    hits, ok = await _until(lambda: gateway.search(QUERY, _MOST_HITS), complete)
    shown = [hit for hit in hits if ours(msgspec.json.decode(hit))]
    return SearchHits(query=QUERY, reader=SEARCHER, hits=shown, ok=ok)


async def _until(
    read: Callable[[], AsyncIterator[Raw]], complete: Callable[[list[dict[str, Any]]], bool]
) -> tuple[list[Raw], bool]:
    """Read repeatedly until the result is complete or the time is over."""
    deadline = time.monotonic() + STORED_SECONDS
    while True:
        items = [item async for item in read()]
        ok = complete([msgspec.json.decode(item) for item in items])
        if ok or time.monotonic() > deadline:
            return items, ok
        await asyncio.sleep(_PAUSE_SECONDS)
