"""Tools for damages: how a damage chooses, and the difference that an audit must report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from audit.index import IndexedDocument
from audit.log import KafkaRecord
from audit.report import AuditReport, CheckName, Difference, DifferenceKind
from schemas.codec import decode_entry, decode_sync_record, encode
from schemas.number_types import BucketNumber, Offset, ShardNumber
from schemas.recipients import SEPARATOR, recipients_of
from schemas.records import AnyEntry, AnyReply, Retracted
from schemas.sync_seq import epoch_of
from tests.support.audited import System

STRANGER: Final = "stranger"
ItemT = TypeVar("ItemT")


class NoPlaceForDamage(Exception):
    """The system has no record, row or document that a damage could change."""


class Pick:
    """Chooses by numbers from the test: the same numbers give the same choices."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = list(numbers)

    def one(self, items: Sequence[ItemT]) -> ItemT:
        """One of the items.

        Raises:
            NoPlaceForDamage: There are no items.
        """
        if not items:
            raise NoPlaceForDamage
        number = self._numbers.pop() if self._numbers else 0
        return items[number % len(items)]

    def index(self, items: Sequence[Any]) -> int:
        """The position of one of the items."""
        return self.one(range(len(items)))

    def user(self, key: bytes | None) -> str:
        """One of the recipients that a key lists."""
        return self.one(recipients_of(key or b"")).decode()


class Expected(NamedTuple):
    """A difference that the audit must report; an empty field matches anything.

    ``alone``: no other check reports a difference.
    """

    check: CheckName
    kind: DifferenceKind
    conv_id: str = ""
    seq: int = 0
    user: str = ""
    alone: bool = True

    def is_in(self, report: AuditReport) -> bool:
        """Whether the report has this difference."""
        return any(self._is(difference) for difference in report.differences)

    def _is(self, found: Difference) -> bool:
        return (
            (found.check, found.kind) == (self.check, self.kind)
            and self.conv_id in ("", found.conv_id)
            and (self.seq == 0 or found.seq <= self.seq <= max(found.seq, found.through))
            and self.user in ("", found.user)
        )


Damage: TypeAlias = Callable[[System, Pick], Expected]
DAMAGES: Final[dict[str, Damage]] = {}
BETWEEN_EPOCHS: Final[dict[str, Damage]] = {}
"""Damages that are possible only if the sync timelines have more than one epoch."""


def damage(function: Damage) -> Damage:
    """Registers a damage under its name."""
    DAMAGES[function.__name__.strip("_")] = function
    return function


def between_epochs(function: Damage) -> Damage:
    """Registers a damage of `BETWEEN_EPOCHS`."""
    BETWEEN_EPOCHS[function.__name__.strip("_")] = function
    return function


def entry_of(record: KafkaRecord) -> AnyEntry:
    """The entry in a record of the timeline."""
    return decode_entry(record.value)


def entries_at(system: System) -> list[int]:
    """Positions of the sync records except replies: only of later epochs, if there are any."""
    last = system.shards.epochs[-1]
    return [
        at
        for at, record in enumerate(system.sync)
        if isinstance(decode_sync_record(record.value), AnyEntry)
        and (last == 0 or epoch_of(ShardNumber(record.partition)) > 0)
    ]


def replies_at(system: System) -> list[int]:
    """Positions of the replies to commands."""
    records = enumerate(system.sync)
    return [at for at, record in records if isinstance(decode_sync_record(record.value), AnyReply)]


def retractions_at(records: Sequence[KafkaRecord]) -> list[int]:
    """Positions of the records that inform former members of a recall."""
    found = [(at, decode_sync_record(record.value)) for at, record in enumerate(records)]
    return [at for at, record in found if isinstance(record, Retracted)]


def add_sync(system: System, number: int, key: bytes | None, value: bytes | None) -> None:
    """Appends a record to a shard."""
    add_record(system.sync, number, key, value)


def add_record(
    records: list[KafkaRecord], partition: int, key: bytes | None, value: bytes | None
) -> None:
    """Appends a record to a partition."""
    records.append(KafkaRecord(partition, Offset(end_of(records, partition)), key, value))


def only_user(key: bytes | None) -> str:
    """The recipient that a key lists; empty if there are several."""
    users = recipients_of(key or b"")
    return users[0].decode() if len(users) == 1 else ""


def set_key(system: System, at: int, key: bytes | None) -> None:
    """Replaces the key of a sync record."""
    system.sync[at] = system.sync[at]._replace(key=key)


def without_recipient(system: System, at: int, user: str) -> None:
    """Removes a recipient from a sync record's key; removes a record without recipients."""
    users = recipients_of(system.sync[at].key or b"")
    users.remove(user.encode())
    if users:
        set_key(system, at, SEPARATOR.join(users))
    else:
        del system.sync[at]


def twins(system: System, number: int) -> list[str]:
    """People who belong to a shard and are in no conversation."""
    epoch = epoch_of(ShardNumber(number))
    return [name for name in map(str, range(99)) if system.shards.home(name, epoch) == number]


def line_of_sync(record: KafkaRecord) -> object:
    """The group within which the order of records matters. Each reply is a group of its own."""
    found = decode_sync_record(record.value)
    return (
        (record.key, found.conv_id)
        if isinstance(found, AnyEntry)
        else (record.partition, record.offset)
    )


def neighbours(
    records: Sequence[KafkaRecord], line: Callable[[KafkaRecord], object]
) -> list[tuple[int, int]]:
    """Positions of records that follow each other in the same group."""
    last: dict[object, int] = {}
    pairs = []
    for at, record in enumerate(records):
        if line(record) in last:
            pairs.append((last[line(record)], at))
        last[line(record)] = at
    return pairs


def set_value(records: list[KafkaRecord], at: int, value: bytes | None) -> None:
    """Replaces the value of a record."""
    records[at] = records[at]._replace(value=value)


def swap_values(records: list[KafkaRecord], first: int, second: int) -> None:
    """Exchanges the values of two records."""
    one, other = records[first].value, records[second].value
    set_value(records, first, other)
    set_value(records, second, one)


def end_of(records: Sequence[KafkaRecord], partition: int) -> int:
    """The offset behind the last record of a partition."""
    return max((offset + 1 for number, offset, _, _ in records if number == partition), default=0)


def with_column(row: Any, column: str, content: Any) -> Any:
    """A row with another content in one column."""
    return row._replace(**{column: content})


def forged(conv_id: str, seq: int) -> AnyEntry:
    """A message that nobody sent, by a person who is in no conversation."""
    record = {
        "kind": "message_sent", "conv_id": conv_id, "seq": seq, "sender": STRANGER,
        "client_msg_id": "forged", "at": 1, "mentions": [],
        "content": {"type": "text", "text": "hello"},
    }  # fmt: skip
    return decode_entry(encode(record))


def drop_empty_bucket(system: System, user: str, bucket: BucketNumber) -> None:
    """Removes an empty bucket from the list, because a listed empty bucket is another fault."""
    if not any((row.user_id, row.bucket) == (user, bucket) for row in system.sync_rows):
        system.buckets.remove((user, bucket))


def of_entry(
    entry: AnyEntry, check: CheckName, kind: DifferenceKind, *, alone: bool = True
) -> Expected:
    """A difference at an entry."""
    return Expected(check, kind, entry.conv_id, entry.seq, alone=alone)


def of_document(document: IndexedDocument, kind: DifferenceKind) -> Expected:
    """A difference of the index at a document."""
    return Expected("index", kind, document.source["conv_id"], document.source["seq"])


def of_sync(user: str, value: bytes | None, kind: DifferenceKind) -> Expected:
    """A difference of a sync timeline at a record; the record's row differs, too."""
    entry = decode_entry(value)
    return Expected("sync-log", kind, entry.conv_id, entry.seq, user, alone=False)
