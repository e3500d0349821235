"""The claim of a keyspace while another process creates its tables."""

from __future__ import annotations

from typing import Any

import pytest
from cassandra import InvalidRequest

from backends.identity import store_claim
from schemas.deployment import Deployment
from schemas.settings import Settings

DEPLOYMENT = Deployment(id="d", topics={})


class Rows:
    """The rows of an answer: at most one."""

    def __init__(self, row: tuple[str, ...] | None) -> None:
        self._row = row

    def one(self) -> tuple[str, ...] | None:
        """The row."""
        return self._row


class ListedTables:
    """A session of a node that lists its tables before it accepts statements for them.

    Args:
        refusals: The number of refused statements.
    """

    def __init__(self, refusals: int) -> None:
        self._refusals = refusals
        self._id: str | None = None

    def execute(self, statement: str, parameters: tuple[Any, ...] = ()) -> Rows:
        """Answers a statement of a claim."""
        if "FROM conversation" in statement:
            if self._refusals:
                self._refusals -= 1
                raise InvalidRequest("unconfigured table conversation")
            return Rows(None)
        if statement.startswith("INSERT"):
            self._id = parameters[1]
        return Rows(None if self._id is None else (self._id,))


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tables to create, and a log that nobody has read."""
    monkeypatch.setattr(store_claim, "create_tables", lambda *_: None)
    monkeypatch.setattr(store_claim, "require_unread", lambda *_: None)


def test_a_claim_waits_for_the_tables_of_another_process() -> None:
    """A statement that a node refuses, because a table is new, is repeated."""
    session: Any = ListedTables(refusals=2)
    store_claim.claim_store(session, Settings(), DEPLOYMENT)
    assert store_claim.store_id(session, Settings()) == DEPLOYMENT.id


def test_a_refusal_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repetition has a time limit."""
    monkeypatch.setattr(store_claim, "_VISIBLE_SECONDS", 0.3)
    session: Any = ListedTables(refusals=1_000)
    with pytest.raises(InvalidRequest):
        store_claim.claim_store(session, Settings(), DEPLOYMENT)
