"""The search index as a port. `gateway.store.elastic_index` implements it on Elasticsearch."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

from schemas.number_types import Milliseconds, SeqId
from schemas.visibility import Period

Term: TypeAlias = tuple[str, ...]
"""The readings of a term, as `readings_of` gives them."""


class Query(NamedTuple):
    """The terms that a message must contain, and whether further terms were ignored."""

    terms: list[Term]
    is_cut: bool


class SearchPosition(NamedTuple):
    """The place of a message in the order of the results: newest first, then by conversation."""

    at: Milliseconds
    conv_id: str
    seq: SeqId

    def sort_key(self) -> tuple[int, str, int]:
        """A key that is ascending in the order of the results."""
        return -self.at, self.conv_id, -self.seq


class Hit(NamedTuple):
    """A message that the index found by the words of the entry ``version``.

    ``version`` is the SeqId of the message itself, or of an edit.
    """

    place: SearchPosition
    version: SeqId

    def sort_key(self) -> tuple[int, str, int]:
        """As in `SearchPosition`."""
        return self.place.sort_key()


class SearchRequest(NamedTuple):
    """Messages with all terms of a query, optionally of one conversation and one sender."""

    query: Query
    conversation: str | None
    sender: str | None
    below: SearchPosition | None
    limit: int


class Index(Protocol):
    """The search index."""

    async def newest(
        self,
        request: SearchRequest,
        scope: dict[str, list[Period]],
        below: SearchPosition | None,
        limit: int,
    ) -> list[Hit]:
        """The first ``limit`` messages after the place ``below`` in ``scope``.

        Raises:
            ScopeTooWide: The scope has more ranges than one search may have.
            ServerUnavailable: The index does not answer.
        """

    async def reachable(self) -> bool:
        """Whether a search would be answered now. Raises nothing."""
