"""Indexes the text of messages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from elasticsearch import ApiError, Elasticsearch, TransportError

from backends.elasticsearch.generations import GenerationState, read_generation
from backends.elasticsearch.index import create_index
from schemas.errors import (
    AccessRefused,
    ConfigurationError,
    PoisonRecord,
    ServerUnavailable,
    TransientFailure,
)
from schemas.number_types import Milliseconds
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.base.writer_port import WriteOutcome
from sinks.elasticsearch.documents import SearchDocument, bulks_of, documents_of

_WANTED: Final = ["items.*.status", "items.*.error.type"]
"""The requested fields of a bulk response. The text of an error may quote a message."""

_DURABLE: Final = (
    HTTPStatus.OK,
    HTTPStatus.CREATED,
    HTTPStatus.CONFLICT,  # the index has a newer version, or the same
)
_REFUSED: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
"""Status of a document that can never pass, or of a request with such a document."""

_NOT_OF_A_DOCUMENT: Final = re.compile(
    "^(index|indices|cluster|shard|security|alias|snapshot|validation|resource|process_cluster|"
    "circuit|es_rejected|timeout|unavailable|no_shard|no_node|master_not|invalid_index|"
    "invalid_alias|pipeline|too_many|node_|illegal_state)|_closed|_block"
)
"""Types of errors of an index, of the cluster or of the user. They are never poison, whatever
their status: a closed index answers 400 for each document."""

_CHECK_SECONDS: Final = 3.0

ALIAS_SECONDS: Final = 10.0
"""Interval at which the writer checks that the searched alias includes its indices."""


class _Fate(NamedTuple):
    """The server's result for one document: an HTTP status, and the type of an error."""

    document: SearchDocument
    status: int
    error: str

    @property
    def is_poison(self) -> bool:
        """Whether the document can never pass. An error of more than the document is temporary."""
        return self.status in _REFUSED and not _NOT_OF_A_DOCUMENT.search(self.error)


class SearchWriter:
    """Writes one document for each text message, and again for an edit or a recall.

    The same entry always makes the same document under the same id, with its SeqId as version.

    A fault of an index, the alias, the cluster or the user is a `TransientFailure`: the sink logs
    the fault, waits, and continues after the repair.

    The writer reads the number of the generation at its start and after each failure. `im reindex`
    blocks the indices of a generation before another one becomes current, so a writer that has
    read an old number writes nothing: it fails, and reads the number again.

    Args:
        client: A client without retries.
        settings: The settings of the deployment, which name the indices.
        clock: Monotonic time in seconds.
        building: Write to this generation, which is not searched yet; by default to the current
            one.
    """

    def __init__(
        self,
        client: Elasticsearch,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        *,
        building: int | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._building = building
        self._generation: int | None = building
        self._indices: dict[str, float] = {}
        """The existing indices, with the time when the alias last included each."""
        self._clock = clock

    def not_reachable(self) -> str | None:
        """See `sinks.base.writer_port.CheckedWriter`."""
        client = self._client.options(request_timeout=_CHECK_SECONDS)
        try:
            is_there = client.indices.exists_alias(name=self._settings.index_alias)
        except (ApiError, TransportError):
            return "Elasticsearch does not answer"
        return None if is_there else "the alias of the index does not exist"

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        """See `sinks.base.writer_port.StoreWriter.write`."""
        try:
            outcome = self._write(records)
        except TransientFailure:
            self._generation = self._building
            raise
        if outcome.to_retry:
            self._generation = self._building
        return outcome

    def _write(self, records: Sequence[Record]) -> WriteOutcome:
        generation = self._state().current if self._generation is None else self._generation
        self._generation = generation
        documents, poison = documents_of(self._settings, records, generation)
        self._create_indices(documents, generation)
        fates = [fate for bulk in bulks_of(documents) for fate in self._send(bulk)]
        failed = [fate for fate in fates if fate.status not in _DURABLE]
        poison += [
            PoisonRecord(fate.document.origin, f"Elasticsearch refuses the document: {fate.error}")
            for fate in failed
            if fate.is_poison
        ]
        to_retry = [fate for fate in failed if not fate.is_poison]
        for fate in to_retry:
            self._indices.pop(fate.document.index_name, None)  # the index may have been deleted
        retry_reason = f"{to_retry[0].error} from Elasticsearch" if to_retry else ""
        return WriteOutcome(poison, [fate.document.origin for fate in to_retry], retry_reason)

    def _create_indices(self, documents: Iterable[SearchDocument], generation: int) -> None:
        now = self._clock()
        for document in documents:
            checked_at = self._indices.get(document.index_name)
            if checked_at is None:
                self._create_index(document.at, generation)
            if checked_at is None or now - checked_at >= ALIAS_SECONDS:
                if self._building is None:
                    self._check_alias(document.index_name)
                self._indices[document.index_name] = now

    def _create_index(self, at: Milliseconds, generation: int) -> None:
        searched = self._building is None
        try:
            create_index(self._client, self._settings, at, generation, searched=searched)
        except (ConfigurationError, AccessRefused, ServerUnavailable) as error:
            raise TransientFailure(str(error)) from error
        # `im reindex` sets `switching` before it blocks the indices that exist. So it has seen
        # this index if the state is read after the creation and is not `switching`.
        if searched:
            state = self._state()
            if state.switching or state.current != generation:
                raise TransientFailure("`im reindex` replaces the index now")

    def _state(self) -> GenerationState:
        try:
            return read_generation(self._client, self._settings).state
        except (ConfigurationError, AccessRefused, ServerUnavailable) as error:
            raise TransientFailure(str(error)) from error

    def _check_alias(self, index: str) -> None:
        alias = self._settings.index_alias
        try:
            is_there = self._client.indices.exists_alias(name=alias, index=index)
        except (ApiError, TransportError) as error:
            raise _failure(error) from error
        if not is_there:
            raise TransientFailure(f"alias {alias} does not name {index}: searches miss it")

    def _send(self, bulk: Sequence[SearchDocument]) -> Iterator[_Fate]:
        """Sends one request; if it is refused as a whole, sends its halves, recursively."""
        operations = [line for item in bulk for line in (item.action, item.source)]
        try:
            answer = self._client.bulk(
                operations=operations,  # type: ignore[arg-type] # JSON lines are sent unchanged
                filter_path=_WANTED,
            )
        except ApiError as error:
            if error.status_code not in _REFUSED or _NOT_OF_A_DOCUMENT.search(error.error):
                raise _failure(error) from error
            yield from self._send_in_parts(bulk, error)
        except TransportError as error:
            raise _failure(error) from error
        else:
            for document, item in zip(bulk, answer["items"], strict=True):
                result = item["index"]
                yield _Fate(document, result["status"], result.get("error", {}).get("type", ""))

    def _send_in_parts(self, bulk: Sequence[SearchDocument], error: ApiError) -> Iterator[_Fate]:
        if len(bulk) == 1:
            yield _Fate(bulk[0], error.status_code, error.error)
            return
        middle = len(bulk) // 2
        yield from self._send(bulk[:middle])
        yield from self._send(bulk[middle:])


def _failure(error: ApiError | TransportError) -> TransientFailure:
    """Converts an error that no document causes: temporary until a repair."""
    name = f"{type(error).__name__} from Elasticsearch"
    if isinstance(error, ApiError):
        return TransientFailure(f"{name}, status {error.status_code}, {error.error}")
    return TransientFailure(name)
