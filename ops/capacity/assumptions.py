"""The workload of a plan, and what the plan assumes. Each value can be set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct
from msgspec.inspect import FloatType, IntType, Metadata, StructType, type_info

from schemas.errors import ConfigurationError

_Named = TypeVar("_Named", bound=Struct)

_Positive: TypeAlias = Annotated[float, Meta(gt=0, le=1e15)]
_Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
_Part: TypeAlias = Annotated[float, Meta(gt=0, le=1)]


def _meaning(text: str) -> Meta:
    return Meta(description=text)


class Workload(Struct, frozen=True, forbid_unknown_fields=True):
    """What the deployment has to carry at its busiest time."""

    sync_writes: Annotated[_Positive, _meaning("deliveries to sync timelines a second")] = 100_000
    range_reads: Annotated[_Positive, _meaning("pages read from timelines a second")] = 100_000
    messages: Annotated[_Positive, _meaning("messages a second")] = 10_000
    stored_tb: Annotated[
        _Positive, _meaning("TB of entries as JSON, before compression and copies")
    ] = 100
    timelines: Annotated[_Positive, _meaning("people with a sync timeline")] = 50_000_000


class Assumptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What was not measured, or what a deployment decides."""

    utilization: Annotated[_Part, _meaning("of a core or a network at the busiest time")] = 0.5
    average_share: Annotated[_Part, _meaning("average rate, as a share of the highest")] = 0.5
    copies: Annotated[int, Meta(ge=1, le=7), _meaning("copies of each record")] = 3
    spread_share: Annotated[
        _Share, _meaning("of the sync writes: alone for their recipient in a flush")
    ] = 1.0
    entries_per_read: Annotated[_Positive, _meaning("records or entries in a page")] = 100
    history_share: Annotated[_Share, _meaning("of the pages: history, the others sync")] = 0.2
    posted_share: Annotated[_Share, _meaning("of the messages: sent over HTTP")] = 1.0
    online_share: Annotated[_Share, _meaning("of the people: with a live connection")] = 0.02
    live_share: Annotated[_Share, _meaning("of the sync writes: to a live connection")] = 0.1
    notified_share: Annotated[_Share, _meaning("of the sync writes: a notification")] = 0.1
    event_share: Annotated[_Share, _meaning("of the messages: an event of a webhook")] = 0.1
    waiting_share: Annotated[
        _Share, _meaning("of the people: a mute, or a conversation that waits for a notification")
    ] = 0.1
    inserts_per_message: Annotated[_Positive, _meaning("inserts of the message sink")] = 3
    conversations: Annotated[_Positive, _meaning("conversations in all")] = 300_000_000
    worker_memory_gb: Annotated[_Positive, _meaning("GB of state that a worker may hold")] = 4
    restore_seconds: Annotated[_Positive, _meaning("longest restore of one partition")] = 60
    spare_partitions: Annotated[
        float, Meta(ge=1, le=100), _meaning("times the partitions that are needed now")
    ] = 2
    entry_bytes: Annotated[_Positive, _meaning("bytes of an entry as JSON")] = 400
    sync_row_bytes: Annotated[_Positive, _meaning("bytes of a row of `sync` in Cassandra")] = 200
    lifetime_days: Annotated[_Positive, _meaning("retention of sync records")] = 7
    commands_days: Annotated[_Positive, _meaning("retention of commands")] = 7
    log_compression: Annotated[_Part, _meaning("size in Kafka, as a share of the JSON")] = 0.5
    store_compression: Annotated[_Part, _meaning("size in Cassandra, as a share")] = 0.5
    machine_cores: Annotated[_Positive, _meaning("cores of a machine")] = 16
    network_gbit: Annotated[_Positive, _meaning("Gbit/s of a machine, each direction")] = 10
    broker_disk_tb: Annotated[_Positive, _meaning("TB of a broker")] = 16
    broker_fill: Annotated[_Part, _meaning("of a broker's disk")] = 0.7
    partitions_of_a_broker: Annotated[
        _Positive, _meaning("copies of partitions on a broker, a guideline of Kafka")
    ] = 4_000
    node_disk_tb: Annotated[_Positive, _meaning("TB of a Cassandra node")] = 8
    node_fill: Annotated[_Part, _meaning("of a Cassandra node's disk, for compaction")] = 0.5
    index_disk_tb: Annotated[_Positive, _meaning("TB of an Elasticsearch node")] = 8
    index_fill: Annotated[_Part, _meaning("of an Elasticsearch node's disk")] = 0.7


MEANINGS: Final[dict[str, str]] = {}
"""The meaning of each field of both classes."""


def _describe(kind: type[Struct]) -> Iterator[tuple[str, str]]:
    info = type_info(kind)
    assert isinstance(info, StructType)  # noqa: S101 - the argument is a Struct
    for field in info.fields:
        described = field.type
        while isinstance(described, Metadata):
            if described.extra_json_schema and "description" in described.extra_json_schema:
                yield field.name, str(described.extra_json_schema["description"])
            described = described.type
        assert isinstance(described, FloatType | IntType)  # noqa: S101 - all fields are numbers


MEANINGS.update(dict(_describe(Workload)) | dict(_describe(Assumptions)))


def assumed(settings: Iterable[str]) -> Assumptions:
    """The assumptions with some of them set.

    Args:
        settings: Texts of the form ``name=number``.

    Raises:
        ConfigurationError: A text has another form, a name is unknown, or a number is outside of
            its range.
    """
    values: dict[str, Any] = {}
    for text in settings:
        name, equals, number = text.partition("=")
        if not equals:
            raise ConfigurationError(f"{text!r} is not of the form name=number")
        if name.strip() not in Assumptions.__struct_fields__:
            raise ConfigurationError(f"{name!r} is not an assumption: `im capacity` lists them")
        values[name.strip()] = number.strip()
    return checked(values, Assumptions)


def checked(values: dict[str, Any], kind: type[_Named]) -> _Named:
    """The values as a workload or as assumptions.

    Raises:
        ConfigurationError: A name is unknown, or a number is outside of its range.
    """
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$.")
        raise ConfigurationError(f"{place.rstrip('`')}: {what}") from None
