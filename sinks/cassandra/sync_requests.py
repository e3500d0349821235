"""Requests of the sync sink: inserts into many partitions, with binary values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from cassandra.query import (
    BatchStatement,
    BatchType,
    BoundStatement,
    PreparedStatement,
    Statement,
)

from sinks.cassandra.requests import grouped
from sinks.cassandra.sync_parts import Part, bigint

MAX_STATEMENTS: Final = 100
"""Inserts in one request. More inserts have little effect."""

MAX_REQUEST_BYTES: Final = 32 * 1024
"""Size of one request. Cassandra refuses a batch of several partitions above 50 KiB."""

_STATEMENT_BYTES: Final = 64
"""Size of an insert without its texts."""


class PackedBatch(BatchStatement):  # type: ignore[misc]  # the driver has no types
    """An unlogged batch of inserts with binary values: binding would double the time of the write.

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


PartDelivery: TypeAlias = tuple[bytes, Part, bool]
"""A recipient, a part of the recipient's timeline, and whether its partition must be listed."""


class Inserts(NamedTuple):
    """The inserts of a delivery, and the values that all deliveries of a time share.

    Attributes:
        row: Into ``sync``.
        expiry: Into ``sync_expiry``.
        listing: Into ``sync_bucket``.
        since: The begin of the present retention interval (s).
        until: The time until which rows written now are certainly stored (s).
        ttl: The TTL of a listing (s).
    """

    row: PreparedStatement
    expiry: PreparedStatement
    listing: PreparedStatement
    since: bytes
    until: bytes
    ttl: bytes


class DeliveryRequest(NamedTuple):
    """Parts of the timelines of different recipients."""

    inserts: Inserts
    deliveries: list[PartDelivery]

    def statement(self) -> Statement:
        """The batch. For each delivery: its rows, the note on their expiry, the listing."""
        insert, expiry, listing, since, until, ttl = self.inserts
        row_id, expiry_id, listing_id = insert.query_id, expiry.query_id, listing.query_id
        user, part, _ = self.deliveries[0]
        first = part.rows[0]
        batch = PackedBatch(insert, [user, bigint(part.bucket), first.sync_seq, first.records])
        pack = batch.pack
        for user, part, is_new in self.deliveries:
            bucket = bigint(part.bucket)
            for row in part.rows:
                newest = row.sync_seq
                pack((True, row_id, [user, bucket, newest, row.records]))
            pack((True, expiry_id, [user, since, until, newest, newest]))
            if is_new:
                pack((True, listing_id, [user, bucket, ttl]))
        return batch


def delivery_requests(
    inserts: Inserts, deliveries: Iterable[PartDelivery]
) -> Iterator[DeliveryRequest]:
    """Cuts deliveries into requests within the bounds, unless a single delivery is larger."""
    for chosen in grouped(deliveries, _cost_of, (MAX_STATEMENTS, MAX_REQUEST_BYTES)):
        yield DeliveryRequest(inserts, chosen)


def _cost_of(delivery: PartDelivery) -> tuple[int, int]:
    user, part, is_new = delivery
    inserts = len(part.rows) + 1 + is_new
    return inserts, part.size + inserts * (len(user) + _STATEMENT_BYTES)
