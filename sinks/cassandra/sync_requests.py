"""Requests of the sync sink: inserts into many partitions, with values in their binary form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

from cassandra.query import (
    BatchStatement,
    BatchType,
    BoundStatement,
    PreparedStatement,
    Statement,
)

from sinks.cassandra.sync_parts import Part, bigint

MAX_STATEMENTS: Final = 100
"""Inserts of one request. The gain of more is small."""

MAX_REQUEST_BYTES: Final = 32 * 1024
"""Of one request. Cassandra refuses a batch of several partitions above 50 KiB."""

_STATEMENT_BYTES: Final = 64
"""Of an insert beside its texts."""

ItemT = TypeVar("ItemT", bound="Listing | Delivery")


class PackedBatch(BatchStatement):  # type: ignore[misc]  # the driver has no types
    """An unlogged batch of inserts with binary values: a bind would take as long as all the rest.

    Args:
        insert: The insert of the first row.
        values: The values of the first row, by which the driver finds a replica.
    """

    def __init__(self, insert: PreparedStatement, values: list[bytes]) -> None:
        super().__init__(batch_type=BatchType.UNLOGGED)
        self.is_idempotent = True
        bound = BoundStatement(insert)
        bound.values = values
        self._update_state(bound)
        self.pack: Any = self._statements_and_parameters.append
        """Appends (True, the id of an insert, the values of a row)."""


class Listing(NamedTuple):
    """A partition of a recipient for the table ``sync_bucket``."""

    user: bytes
    bucket: int

    def cost(self) -> tuple[int, int]:
        """Inserts, and about the bytes of them."""
        return 1, len(self.user) + _STATEMENT_BYTES


class Delivery(NamedTuple):
    """A part of a timeline for one recipient, with the note when it may be gone."""

    user: bytes
    part: Part

    def cost(self) -> tuple[int, int]:
        """Inserts, and about the bytes of them."""
        inserts = len(self.part.rows) + 1
        return inserts, self.part.size + inserts * (len(self.user) + _STATEMENT_BYTES)


def together(items: Iterable[ItemT]) -> Iterator[list[ItemT]]:
    """Cuts items into requests within the bounds, unless a single item is larger."""
    chosen: list[ItemT] = []
    statements = size = 0
    for item in items:
        inserts, more = item.cost()
        if chosen and (statements + inserts > MAX_STATEMENTS or size + more > MAX_REQUEST_BYTES):
            yield chosen
            chosen, statements, size = [], 0, 0
        chosen.append(item)
        statements += inserts
        size += more
    if chosen:
        yield chosen


class ListingRequest(NamedTuple):
    """Partitions to be listed."""

    insert: PreparedStatement
    ttl: bytes
    items: list[Listing]

    def statement(self) -> Statement:
        """The batch."""
        rows = [[user, bigint(bucket), self.ttl] for user, bucket in self.items]
        batch, insert_id = PackedBatch(self.insert, rows[0]), self.insert.query_id
        for values in rows:
            batch.pack((True, insert_id, values))
        return batch


class DeliveryInserts(NamedTuple):
    """The inserts of a delivery, and the times (s) of its note: since when and until when."""

    row: PreparedStatement
    expiry: PreparedStatement
    since: bytes
    until: bytes


class DeliveryRequest(NamedTuple):
    """Parts of the timelines of different recipients."""

    inserts: DeliveryInserts
    items: list[Delivery]

    def statement(self) -> Statement:
        """The batch."""
        insert, expiry, since, until = self.inserts
        row_id, expiry_id = insert.query_id, expiry.query_id
        user, part = self.items[0]
        bucket, first = bigint(part.bucket), part.rows[0]
        batch = PackedBatch(insert, [user, bucket, first.sync_seq, first.records])
        pack = batch.pack
        for user, part in self.items:
            bucket = bigint(part.bucket)
            for row in part.rows:
                pack((True, row_id, [user, bucket, row.sync_seq, row.records]))
            newest = bigint(part.newest)
            pack((True, expiry_id, [user, since, until, newest, newest]))
        return batch
