"""Read all documents of the search index page by page, from one point-in-time view."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from elasticsearch import Elasticsearch, NotFoundError

from audit.index import IndexedDocument
from backends.elasticsearch.index import clear_failures
from schemas.settings import Settings

DOCUMENTS_PER_PAGE: Final = 5_000
_KEEP_ALIVE: Final = "2m"


def read_documents(client: Elasticsearch, settings: Settings) -> Iterator[IndexedDocument]:
    """All documents of all indices of the deployment; empty if there is no index.

    Raises:
        ServerUnavailable: Elasticsearch does not answer, or `im reindex` replaced the index
            during the read.
    """
    with clear_failures(settings):
        try:
            client.indices.refresh(index=settings.index_alias)
        except NotFoundError:
            return
        with _moment(client, settings) as moment:
            yield from _pages(client, moment)


@contextmanager
def _moment(client: Elasticsearch, settings: Settings) -> Iterator[str]:
    opened = client.open_point_in_time(index=settings.index_alias, keep_alive=_KEEP_ALIVE)
    try:
        yield opened["id"]
    finally:
        client.close_point_in_time(id=opened["id"])


def _pages(client: Elasticsearch, moment: str) -> Iterator[IndexedDocument]:
    after: list[Any] | None = None
    while True:
        answer = client.search(
            pit={"id": moment, "keep_alive": _KEEP_ALIVE},
            size=DOCUMENTS_PER_PAGE,
            version=True,
            sort=["_shard_doc"],
            search_after=after,
            track_total_hits=False,
            allow_partial_search_results=False,  # a failed shard must not look empty
        )
        hits = answer["hits"]["hits"]
        for hit in hits:
            place = (hit["_index"], hit["_id"], hit.get("_routing"))
            yield IndexedDocument(*place, hit["_source"], hit["_version"])
        if not hits:
            return
        after = hits[-1]["sort"]
