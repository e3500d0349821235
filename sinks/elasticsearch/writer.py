"""Indexes the text of messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from elasticsearch import ApiError, Elasticsearch, TransportError

from backends.elasticsearch import create_index
from schemas.errors import FatalFailure, PoisonRecord, TransientFailure
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.base.writer import Outcome
from sinks.elasticsearch.documents import Document, bulks_of, documents_of

_WANTED: Final = ["items.*.status", "items.*.error.type"]
"""Of the answer to a bulk request. An error's own words may quote a message."""

_DURABLE: Final = (
    HTTPStatus.OK,
    HTTPStatus.CREATED,
    HTTPStatus.CONFLICT,  # a newer version is there, or the same
)
_REFUSED: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
"""What a document gets that can never pass, or a whole request because of one of its documents."""


class _Fate(NamedTuple):
    """What the server says to one document: an HTTP status, and the type of the error if any."""

    document: Document
    status: int
    error: str

    @property
    def is_poison(self) -> bool:
        """Whether it can never pass. A missing index or a lack of anything passes in time."""
        return self.status in _REFUSED


class SearchWriter:
    """Writes one document for each text message, and writes it anew when it is edited or recalled.

    The same entry always makes the same document under the same id, with its SeqId as version.

    Args:
        client: Without retries of its own.
        settings: Name the indices.
    """

    def __init__(self, client: Elasticsearch, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._indices: set[str] = set()

    def write(self, records: Sequence[Record]) -> Outcome:
        """See `sinks.base.writer.Writer.write`."""
        documents, poison = documents_of(self._settings, records)
        self._create_indices(documents)
        fates = [fate for bulk in bulks_of(documents) for fate in self._send(bulk)]
        failed = [fate for fate in fates if fate.status not in _DURABLE]
        poison += [
            PoisonRecord(fate.document.origin, f"Elasticsearch refuses the document: {fate.error}")
            for fate in failed
            if fate.is_poison
        ]
        again = [fate for fate in failed if not fate.is_poison]
        self._indices -= {fate.document.index_name for fate in again}  # one of them may be gone
        why = f"{again[0].error} from Elasticsearch" if again else ""
        return Outcome(poison, [fate.document.origin for fate in again], why)

    def _create_indices(self, documents: Iterable[Document]) -> None:
        for document in documents:
            if document.index_name not in self._indices:
                self._create_index(document.at)
                self._indices.add(document.index_name)

    def _create_index(self, at: int) -> None:
        try:
            create_index(self._client, self._settings, at)
        except ApiError as error:
            raise _failure(error) from error

    def _send(self, bulk: Sequence[Document]) -> Iterator[_Fate]:
        """Sends one request; if it is refused as a whole, its halves, down to single documents."""
        operations = [line for item in bulk for line in (item.action, item.source)]
        try:
            answer = self._client.bulk(
                operations=operations,  # type: ignore[arg-type] # lines of JSON are sent as they are
                filter_path=_WANTED,
            )
        except ApiError as error:
            if error.status_code not in _REFUSED:
                raise _failure(error) from error
            yield from self._send_in_parts(bulk, error)
        except TransportError as error:
            raise _failure(error) from error
        else:
            for document, item in zip(bulk, answer["items"], strict=True):
                result = item["index"]
                yield _Fate(document, result["status"], result.get("error", {}).get("type", ""))

    def _send_in_parts(self, bulk: Sequence[Document], error: ApiError) -> Iterator[_Fate]:
        if len(bulk) == 1:
            yield _Fate(bulk[0], error.status_code, error.error)
            return
        middle = len(bulk) // 2
        yield from self._send(bulk[:middle])
        yield from self._send(bulk[middle:])


def _failure(error: ApiError | TransportError) -> TransientFailure | FatalFailure:
    """What an error that is about no document means."""
    name = f"{type(error).__name__} from Elasticsearch"
    if isinstance(error, TransportError):
        return TransientFailure(name)
    overloaded = error.status_code == HTTPStatus.TOO_MANY_REQUESTS
    if overloaded or error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TransientFailure(f"{name}, status {error.status_code}")
    return FatalFailure(f"{name}, status {error.status_code}")
