"""The search index on Elasticsearch."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from backends.elasticsearch.index import client_options, other_layout
from gateway.errors import ScopeTooWide
from gateway.store.index_port import Hit, SearchPosition, SearchRequest, Term
from schemas.errors import ServerUnavailable
from schemas.number_types import FIRST_SEQ
from schemas.settings import Settings
from schemas.visibility import Period

SEARCH_SECONDS: Final = 5.0
REACHABLE_SECONDS: Final = 2.0

CLAUSES_A_QUERY: Final = 500
"""Maximum number of ranges in one query. A larger query is split and the results are merged."""

MAX_QUERIES: Final = 16
"""Maximum number of queries for one page of a search."""

_IDS_A_CLAUSE: Final = 10_000
"""Conversation ids in one clause. Elasticsearch accepts 65,536 terms."""

_WHOLE: Final = Period(FIRST_SEQ)
"""A scope that is a whole conversation."""

_NEWEST_FIRST: Final = [{"at": "desc"}, {"conv_id": "asc"}, {"seq": "desc"}]
_PASSES_LATER: Final = frozenset({401, 403, 408, 429, 500, 502, 503, 504})
"""401 and 403 are about the credentials of the gateway, and pass after a repair."""


class ElasticIndex:
    """`gateway.store.index_port.Index` on Elasticsearch."""

    def __init__(self, settings: Settings) -> None:
        # The client logs each request by default.
        logging.getLogger("elastic_transport").setLevel(logging.ERROR)
        self._alias = settings.index_alias
        self._client = AsyncElasticsearch(**client_options(settings, SEARCH_SECONDS))
        self._fits = False

    async def stop(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def newest(
        self,
        request: SearchRequest,
        scope: dict[str, list[Period]],
        below: SearchPosition | None,
        limit: int,
    ) -> list[Hit]:
        """See `gateway.store.index_port.Index`."""
        await self._check_layout()
        parts = list(_batches(_clauses(scope), CLAUSES_A_QUERY))
        if len(parts) > MAX_QUERIES:
            raise ScopeTooWide
        answers = [
            self._hits(_query(request, part), request.conversation, below, limit) for part in parts
        ]
        merged = heapq.merge(*await asyncio.gather(*answers), key=Hit.sort_key)
        return list(islice(merged, limit))

    async def reachable(self) -> bool:
        """See `gateway.store.index_port.Index`."""
        client = self._client.options(request_timeout=REACHABLE_SECONDS)
        try:
            # The small build of the server for development has no `GET /`.
            await client.cluster.health(timeout=f"{REACHABLE_SECONDS:.0f}s")
            await self._check_layout()
        except (ApiError, TransportError, ServerUnavailable):
            return False
        return True

    async def _check_layout(self) -> None:
        """Checks the layout of all indices, in each call until all match.

        Raises:
            ServerUnavailable: An index has another layout, or the server does not answer.
        """
        if self._fits:
            return
        try:
            mappings = await self._client.indices.get_mapping(
                index=self._alias, ignore_unavailable=True
            )
        except (ApiError, TransportError) as error:
            raise ServerUnavailable("Elasticsearch does not answer") from error
        if wrong := other_layout(mappings.body):
            raise ServerUnavailable(wrong)
        self._fits = bool(mappings.body)

    async def _hits(
        self,
        query: dict[str, Any],
        conversation: str | None,
        below: SearchPosition | None,
        limit: int,
    ) -> list[Hit]:
        try:
            answer = await self._client.search(
                index=self._alias,
                query=query,
                sort=_NEWEST_FIRST,
                search_after=None if below is None else list(below),
                size=limit,
                routing=conversation,
                source=False,
                version=True,  # the sink writes the SeqId of the entry into the version
                track_total_hits=False,
                timeout=f"{SEARCH_SECONDS:.0f}s",
                allow_partial_search_results=False,  # a partial result would be a silent hole
                ignore_unavailable=True,  # before the first document there is no index
            )
        except TransportError:
            raise ServerUnavailable("Elasticsearch does not answer") from None
        except ApiError as error:
            if error.status_code in _PASSES_LATER:
                raise ServerUnavailable("Elasticsearch does not answer") from None
            raise
        if answer["timed_out"]:
            raise ServerUnavailable("Elasticsearch does not answer in time")
        return [
            Hit(SearchPosition(*hit["sort"]), hit["_version"]) for hit in answer["hits"]["hits"]
        ]


def _query(request: SearchRequest, part: Sequence[dict[str, Any]]) -> dict[str, Any]:
    filters: list[dict[str, Any]] = [{"bool": {"should": list(part)}}]
    if request.sender is not None:
        filters.append({"term": {"sender": request.sender}})
    filters += [_contains(term) for term in request.query.terms]
    return {"bool": {"filter": filters}}


def _contains(term: Term) -> dict[str, Any]:
    """The messages that contain a term in one of its readings."""
    return {"bool": {"should": [{"match_phrase": {"tokens": reading}} for reading in term]}}


def _clauses(scope: dict[str, list[Period]]) -> Iterator[dict[str, Any]]:
    """The clauses of a scope: many whole conversations in one clause, other ranges one by one."""
    whole = [conv_id for conv_id, of_one in scope.items() if of_one == [_WHOLE]]
    for ids in _batches(iter(whole), _IDS_A_CLAUSE):
        yield {"terms": {"conv_id": ids}}
    for conv_id, of_one in scope.items():
        if of_one != [_WHOLE]:
            yield from (_within(conv_id, part) for part in of_one)


def _within(conv_id: str, part: Period) -> dict[str, Any]:
    bounds = {"gte": part.first} | ({} if part.last is None else {"lte": part.last})
    return {"bool": {"filter": [{"term": {"conv_id": conv_id}}, {"range": {"seq": bounds}}]}}


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(items, size)):
        yield batch
