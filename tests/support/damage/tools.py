"""How a damage is written: what it chooses, and what it says that an audit has to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from ops.verify.index import Document
from ops.verify.log import KafkaRecord
from ops.verify.report import CheckName, Difference, DifferenceKind, Report
from schemas.codec import decode_entry, decode_sync_record, encode
from schemas.recipients import SEPARATOR, recipients_of
from schemas.records import AnyEntry, AnyReply, Retracted
from schemas.sync_seq import epoch_of
from tests.support.audited import System

STRANGER: Final = "stranger"
ItemT = TypeVar("ItemT")


class Pick:
    """Chooses by numbers that the test gives; always the same from the same numbers."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = list(numbers)

    def one(self, items: Sequence[ItemT]) -> ItemT:
        """One of the items; there must be one."""
        number = self._numbers.pop() if self._numbers else 0
        return items[number % len(items)]

    def index(self, items: Sequence[Any]) -> int:
        """The place of one of them."""
        return self.one(range(len(items)))

    def user(self, key: bytes | None) -> str:
        """One of the recipients that a key lists."""
        return self.one(recipients_of(key or b"")).decode()


class Expected(NamedTuple):
    """A difference that has to be reported; what is empty may be anything.

    ``alone``: no other check has anything to say.
    """

    check: CheckName
    kind: DifferenceKind
    conv_id: str = ""
    seq: int = 0
    user: str = ""
    alone: bool = True

    def is_in(self, report: Report) -> bool:
        """Whether the report names it."""
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
"""Those that only a deployment can have whose sync timelines have more than one epoch."""


def damage(function: Damage) -> Damage:
    """Registers a damage under its name."""
    DAMAGES[function.__name__.strip("_")] = function
    return function


def between_epochs(function: Damage) -> Damage:
    """Registers a damage of `BETWEEN_EPOCHS`."""
    BETWEEN_EPOCHS[function.__name__.strip("_")] = function
    return function


def entry_of(record: KafkaRecord) -> AnyEntry:
    """The entry that a record of the timeline carries."""
    return decode_entry(record[3])


def entries_at(system: System) -> list[int]:
    """Where the sync records are that are no replies: of epochs after the first, if there are."""
    last = system.shards.epochs[-1]
    return [
        at
        for at, record in enumerate(system.sync)
        if isinstance(decode_sync_record(record[3]), AnyEntry)
        and (last == 0 or epoch_of(record[0]) > 0)
    ]


def replies_at(system: System) -> list[int]:
    """Where the replies to commands are."""
    records = enumerate(system.sync)
    return [at for at, record in records if isinstance(decode_sync_record(record[3]), AnyReply)]


def retractions_at(records: Sequence[KafkaRecord]) -> list[int]:
    """Where the records are that tell who has left of a recall."""
    found = [(at, decode_sync_record(record[3])) for at, record in enumerate(records)]
    return [at for at, record in found if isinstance(record, Retracted)]


def add_sync(system: System, number: int, key: bytes | None, value: bytes | None) -> None:
    """Appends a record to a shard."""
    system.sync.append((number, end_of(system.sync, number), key, value))


def only_user(key: bytes | None) -> str:
    """The recipient that a key lists; empty if there are several."""
    users = recipients_of(key or b"")
    return users[0].decode() if len(users) == 1 else ""


def set_key(system: System, at: int, key: bytes | None) -> None:
    """Gives a sync record another key."""
    number, offset, _, value = system.sync[at]
    system.sync[at] = (number, offset, key, value)


def without_recipient(system: System, at: int, user: str) -> None:
    """Takes a recipient out of the key of a sync record; the last one with the record."""
    users = recipients_of(system.sync[at][2] or b"")
    users.remove(user.encode())
    if users:
        set_key(system, at, SEPARATOR.join(users))
    else:
        del system.sync[at]


def twins(system: System, number: int) -> list[str]:
    """People of no conversation who live in a shard."""
    epoch = epoch_of(number)
    return [name for name in map(str, range(99)) if system.shards.home(name, epoch) == number]


def line_of_sync(record: KafkaRecord) -> object:
    """Records with the same of it have an order among each other; replies have none."""
    found = decode_sync_record(record[3])
    return (record[2], found.conv_id) if isinstance(found, AnyEntry) else record[:2]


def neighbours(
    records: Sequence[KafkaRecord], line: Callable[[KafkaRecord], object]
) -> list[tuple[int, int]]:
    """Places of records that follow each other in their line."""
    last: dict[object, int] = {}
    pairs = []
    for at, record in enumerate(records):
        if line(record) in last:
            pairs.append((last[line(record)], at))
        last[line(record)] = at
    return pairs


def set_value(records: list[KafkaRecord], at: int, value: bytes | None) -> None:
    """Gives a record another value."""
    records[at] = (*records[at][:3], value)


def swap_values(records: list[KafkaRecord], first: int, second: int) -> None:
    """Gives two records each other's value."""
    one, other = records[first][3], records[second][3]
    set_value(records, first, other)
    set_value(records, second, one)


def end_of(records: Sequence[KafkaRecord], partition: int) -> int:
    """The offset behind the last record of a partition."""
    return max((offset + 1 for number, offset, _, _ in records if number == partition), default=0)


def with_column(row: tuple[Any, ...], column: int, content: Any) -> Any:
    """A row with another content in one column."""
    return (*row[:column], content, *row[column + 1 :])


def forged(conv_id: str, seq: int) -> AnyEntry:
    """A message that nobody sent, by somebody who is in no conversation."""
    record = {
        "kind": "message_sent", "conv_id": conv_id, "seq": seq, "sender": STRANGER,
        "client_msg_id": "forged", "at": 1, "mentions": [],
        "content": {"type": "text", "text": "hello"},
    }  # fmt: skip
    return decode_entry(encode(record))


def drop_empty_bucket(system: System, user: str, bucket: int) -> None:
    """A bucket whose rows are all gone is not listed either: that would be one fault more."""
    if not any(row[:2] == (user, bucket) for row in system.sync_rows):
        system.buckets.remove((user, bucket))


def of_entry(
    entry: AnyEntry, check: CheckName, kind: DifferenceKind, *, alone: bool = True
) -> Expected:
    """A difference at the place of an entry."""
    return Expected(check, kind, entry.conv_id, entry.seq, alone=alone)


def of_document(document: Document, kind: DifferenceKind) -> Expected:
    """A difference of the index, at the place of a document."""
    return Expected("index", kind, document.source["conv_id"], document.source["seq"])


def of_sync(user: str, value: bytes | None, kind: DifferenceKind) -> Expected:
    """A difference of a sync timeline, at the place of a record; its row differs, too."""
    entry = decode_entry(value)
    return Expected("sync-log", kind, entry.conv_id, entry.seq, user, alone=False)
