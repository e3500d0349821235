"""The search writer with a server whose answers the test defines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError, ConnectionTimeout, Elasticsearch

from schemas.errors import RetryableError, TransientFailure
from schemas.number_types import Offset
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.base.writer_port import WriteOutcome
from sinks.elasticsearch.index_writer import ALIAS_SECONDS, SearchWriter
from tests.support.clock import Clock
from tests.support.sink_stores import NEXT_MONTH, Conversation, on_log

RECORDS = [on_log(Conversation("c").said(seq, "hello"), seq) for seq in range(1, 8)]

Bulk = Callable[[list[int]], list[tuple[int, str]]]
"""Maps the SeqIds of a request to the status and the error type of each."""


def refusal(status: int, kind: str = "some_exception") -> ApiError:
    """An error response for a whole request."""
    node = NodeConfig("http", "localhost", 1)
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(), 0.1, node)
    return ApiError(kind, meta, {})


class FakeClient:
    """Answers bulk requests as the test defines, and records them."""

    def __init__(self, bulk: Bulk) -> None:
        self.bulks: list[list[int]] = []
        self.created: list[str] = []
        self.alias = True
        self.generation = 0
        self.switching = False
        self.indices = SimpleNamespace(create=self._create, exists_alias=lambda **_: self.alias)
        self._bulk = bulk

    def bulk(self, operations: Sequence[bytes], filter_path: Sequence[str]) -> dict[str, Any]:
        assert "items.*.error.reason" not in filter_path, "it may quote a message"
        seqs = [msgspec.json.decode(source)["seq"] for source in operations[1::2]]
        self.bulks.append(seqs)
        answers = self._bulk(seqs)
        return {
            "items": [
                {"index": {"status": status} | ({"error": {"type": kind}} if kind else {})}
                for status, kind in answers
            ]
        }

    def get(self, **_: object) -> SimpleNamespace:
        source = {"current": self.generation, "switching": self.switching}
        return SimpleNamespace(body={"_source": source, "_seq_no": 1, "_primary_term": 1})

    def _create(self, index: str, **_: object) -> None:
        self.created.append(index)


def writer(bulk: Bulk) -> tuple[SearchWriter, FakeClient]:
    """A writer and its client."""
    client = FakeClient(bulk)
    return SearchWriter(cast("Elasticsearch", client), Settings()), client


def each(answers: dict[int, tuple[int, str]]) -> Bulk:
    """Answer with these results by SeqId; all other documents are created."""
    return lambda seqs: [answers.get(seq, (201, "")) for seq in seqs]


def whole(error: Exception) -> Bulk:
    """Answer each request with this error."""

    def bulk(_: list[int]) -> list[tuple[int, str]]:
        raise error

    return bulk


def test_each_document_has_its_own_outcome() -> None:
    """A conflict is a success, an overload is retried, and a malformed document is poison."""
    answers = {
        1: (200, ""),
        2: (409, "version_conflict_engine_exception"),
        3: (429, "es_rejected_execution_exception"),
        4: (503, "unavailable_shards_exception"),
        5: (400, "document_parsing_exception"),
        6: (403, "cluster_block_exception"),
    }
    outcome = writer(each(answers))[0].write(RECORDS)
    assert list(outcome.to_retry) == [2, 3, 5]
    assert "es_rejected_execution_exception" in outcome.retry_reason
    (bad,) = outcome.poison
    assert bad.index == 4
    assert "document_parsing_exception" in bad.reason


def test_a_refused_request_is_split() -> None:
    """A refused request is split until only the bad documents are poison."""

    def refuse(seqs: list[int]) -> list[tuple[int, str]]:
        if {2, 7} & set(seqs):
            raise refusal(400, "action_request_validation_exception")
        return [(201, "")] * len(seqs)

    search, client = writer(refuse)
    outcome = search.write(RECORDS)
    assert [found.index for found in outcome.poison] == [1, 6]
    assert not outcome.to_retry
    assert len(client.bulks) < 12


def test_a_request_that_is_too_large_is_split() -> None:
    """A request above the server's limit is split and becomes neither poison nor a retry."""

    def refuse(seqs: list[int]) -> list[tuple[int, str]]:
        if len(seqs) > 2:
            raise refusal(413)
        return [(201, "")] * len(seqs)

    outcome = writer(refuse)[0].write(RECORDS)
    assert not outcome.poison
    assert not outcome.to_retry


@pytest.mark.parametrize(
    "error", [refusal(429), refusal(500), refusal(503), ConnectionTimeout("late")], ids=str
)
def test_a_busy_server_is_retried(error: Exception) -> None:
    """A temporary error of the server is a temporary failure of the whole batch."""
    with pytest.raises(TransientFailure):
        writer(whole(error))[0].write(RECORDS)


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_sink_waits_for_a_server_that_refuses(status: int) -> None:
    """An error that somebody can repair is retried, with its status in the message."""
    with pytest.raises(TransientFailure, match=str(status)):
        writer(whole(refusal(status)))[0].write(RECORDS)


@pytest.mark.parametrize(
    "answer",
    [
        (400, "index_closed_exception"),
        (400, "validation_exception"),  # the cluster has its maximum number of shards
        (400, "invalid_index_name_exception"),
        (403, "cluster_block_exception"),
        (403, "security_exception"),
        (401, "security_exception"),
        (404, "index_not_found_exception"),
        (429, "cluster_block_exception"),  # the flood stage of a full disk
        (429, "circuit_breaking_exception"),
        (503, "unavailable_shards_exception"),
        (500, "some_exception"),
    ],
    ids=str,
)
def test_a_failure_of_the_index_is_never_poison(answer: tuple[int, str]) -> None:
    """An error of the index, for each document or for the request, makes no poison."""
    outcome = writer(lambda seqs: [answer] * len(seqs))[0].write(RECORDS)
    assert not outcome.poison
    assert len(outcome.to_retry) == len(RECORDS)
    assert answer[1] in outcome.retry_reason
    with pytest.raises(TransientFailure, match=answer[1]):
        writer(whole(refusal(*answer)))[0].write(RECORDS)


@pytest.mark.parametrize(
    "kind",
    [
        "document_parsing_exception",
        "mapper_parsing_exception",
        "strict_dynamic_mapping_exception",
        "illegal_argument_exception",
    ],
)
def test_a_document_that_the_index_refuses_is_poison(kind: str) -> None:
    """A malformed document is poison and does not block the others."""
    outcome = writer(each({3: (400, kind)}))[0].write(RECORDS)
    assert [found.index for found in outcome.poison] == [2]
    assert not outcome.to_retry


def test_a_sink_waits_for_a_missing_alias() -> None:
    """Documents wait while the index has no alias, because no search would find them."""
    clock = Clock()
    client = FakeClient(each({}))
    search = SearchWriter(cast("Elasticsearch", client), Settings(), clock)
    search.write(RECORDS)
    client.alias = False
    search.write(RECORDS)
    clock.now += ALIAS_SECONDS
    for _ in range(2):
        with pytest.raises(TransientFailure, match="alias"):
            search.write(RECORDS)
    client.alias = True
    assert search.write(RECORDS) == WriteOutcome([], [])


def test_a_sink_follows_the_generation_of_the_index() -> None:
    """After a failure the sink reads the number of the generation again."""
    answers: dict[int, tuple[int, str]] = {}
    search, client = writer(each(answers))
    search.write(RECORDS)
    client.generation = 4
    search.write(RECORDS)  # no failure: the old indices take the documents
    answers[1] = (403, "cluster_block_exception")
    assert search.write(RECORDS).to_retry
    del answers[1]
    search.write(RECORDS)
    assert client.created == [f"im-message-{which}2023.11" for which in ("", "g4-")]


def test_a_sink_creates_no_index_while_the_alias_changes() -> None:
    """An index that nobody has blocked must not take documents of the old generation."""
    search, client = writer(each({}))
    client.switching = True
    with pytest.raises(TransientFailure, match="reindex"):
        search.write(RECORDS)
    assert client.bulks == []
    client.switching = False
    assert search.write(RECORDS) == WriteOutcome([], [])


def test_each_index_is_created_once_before_its_first_document() -> None:
    """An index is created once before its first document, and again after its deletion."""
    later = on_log(Conversation("c").said(9, "hello", at=NEXT_MONTH), 9)
    gone: dict[int, tuple[int, str]] = {}
    search, client = writer(each(gone))
    for _ in range(2):
        search.write([*RECORDS, later])
    assert client.created == ["im-message-2023.11", "im-message-2023.12"]
    gone[9] = (404, "index_not_found_exception")
    assert list(search.write([later]).to_retry) == [0]
    gone.clear()
    search.write([later])
    assert client.created[2:] == ["im-message-2023.12"]


def test_a_sink_waits_until_the_index_can_be_created() -> None:
    """A failed creation of an index is temporary, and no document is sent before it."""
    for error in (refusal(503), ConnectionTimeout("late")):
        search, client = writer(each({}))

        def fail(error: Exception = error, **_: object) -> None:
            raise error

        client.indices.create = fail
        with pytest.raises(RetryableError):
            search.write([Record(0, Offset(0), b"c", RECORDS[0].value)])
        assert client.bulks == []


def test_entries_without_text_make_no_request() -> None:
    """Entries without text make no request."""
    search, client = writer(each({}))
    others = [on_log(entry, 0) for entry in Conversation("c").history() if entry.seq in (1, 3)]
    assert search.write(others) == WriteOutcome([], [])
    assert client.bulks == []
    assert client.created == []
