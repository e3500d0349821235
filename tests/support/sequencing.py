"""Runs the sequencer on lists of commands, with crashes between the commands."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.codec import decode_entry, decode_sync_record, encode
from schemas.errors import RejectionCode
from schemas.limits import Limits
from schemas.number_types import EpochNumber, Milliseconds, Offset, SyncSeqId
from schemas.records import AnyCommand, AnyEntry, AnySyncRecord, Rejected
from schemas.sync_seq import sync_seq, unpack_sync_seq
from stream_processors.sequencing.record_writer import RejectedRecord
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.gathering import Gathering
from stream_processors.state.state_codec import (
    PROGRESS_KEY,
    LaneProgress,
    decode_progress,
    progress_record,
)

SMALL_LIMITS: Final = Limits(
    push_limit=4,
    push_again_below=3,
    max_text_bytes=16,
    max_mentions=3,
    max_members_per_command=8,
    members_per_entry=2,
    recall_within_ms=Milliseconds(30),
    edit_within_ms=Milliseconds(20),
    owner_recalls=True,
)
"""Small limits, so that short lists of commands reach each of them."""


class Crash:
    """In a list of commands: the worker is killed here, in the middle of its transaction."""


class Commit:
    """In a list of commands: the transaction is committed here."""


@dataclass(frozen=True)
class Source:
    """A record of the source topic."""

    offset: Offset
    timestamp: Milliseconds | None
    key: bytes | None
    value: bytes | None


def source(offset: int, command: AnyCommand, at: int | None = None) -> Source:
    """A command as a record of the source topic."""
    timestamp = 1_000 + offset if at is None else at
    return Source(
        Offset(offset), Milliseconds(timestamp), command.conv_id.encode(), encode(command)
    )


@dataclass
class Log:
    """The records that readers see (committed); also the `Writer` of the current transaction.

    ``sources``: the records that the sequencer read. ``cuts``: the lengths of ``syncs`` at which
    the log was restored; each one ends an epoch.
    """

    entries: list[tuple[str, bytes]] = field(default_factory=list)
    syncs: list[tuple[str, bytes]] = field(default_factory=list)
    states: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    letters: list[RejectedRecord] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)

    def place_of(self, index: int) -> SyncSeqId:
        """The sync SeqId of a record of ``syncs``."""
        return sync_seq(EpochNumber(bisect_right(self.cuts, index)), Offset(index))

    def is_ahead(self, cursor: SyncSeqId) -> bool:
        """Whether a cursor is at or beyond the end of its epoch."""
        epoch, offset = unpack_sync_seq(cursor)
        return epoch > len(self.cuts) or offset >= [*self.cuts, len(self.syncs)][epoch]

    def timeline(self, conv_id: str, value: bytes) -> None:
        self.entries.append((conv_id, value))

    def sync(self, recipients: Sequence[str], value: bytes) -> int:
        self.syncs.extend((recipient, value) for recipient in recipients)
        return len(recipients)

    def state(self, key: bytes, value: bytes | None) -> None:
        self.states.append((key, value))

    def dead_letter(self, letter: RejectedRecord) -> None:
        self.letters.append(letter)

    def append(self, other: Log) -> None:
        """Appends the records of a committed transaction."""
        self.entries += other.entries
        self.syncs += other.syncs
        self.states += other.states
        self.letters += other.letters

    def timeline_of(self, conv_id: str) -> list[AnyEntry]:
        """The entries of one conversation."""
        return [decode_entry(value) for key, value in self.entries if key == conv_id]

    def sync_of(self, user: str) -> list[AnySyncRecord]:
        """The sync timeline of one recipient."""
        return [decode_sync_record(value) for key, value in self.syncs if key == user]

    def rejections_of(self, user: str) -> list[RejectionCode]:
        """The codes of the rejections of one person's commands."""
        return [record.code for record in self.sync_of(user) if isinstance(record, Rejected)]

    @property
    def conversations(self) -> set[str]:
        """All created conversations."""
        return {key for key, _ in self.entries}


def restore(states: Iterable[tuple[bytes, bytes | None]], busy_limit: int) -> tuple[
    Conversations, LaneProgress
]:  # fmt: skip
    """The work of `stream_processors.state.restore`, from a list."""
    conversations, progress = Conversations(busy_limit), LaneProgress()
    gathering = Gathering(conversations)
    for key, value in states:
        if key == PROGRESS_KEY:
            assert value is not None
            progress = decode_progress(value)
        else:
            gathering.take(key, value)
    gathering.hand_over()
    return conversations, progress


def compacted(
    states: list[tuple[bytes, bytes | None]], keep_from: int
) -> list[tuple[bytes, bytes | None]]:
    """The log after a possible compaction: only last values before ``keep_from``."""
    last = {key: at for at, (key, _) in enumerate(states)}
    return [record for at, record in enumerate(states) if at >= keep_from or last[record[0]] == at]


def run(
    steps: Iterable[AnyCommand | type[Crash | Commit]],
    limits: Limits = SMALL_LIMITS,
    busy_limit: int = 1_000,
    compact_share: float = 0.0,
    at: Sequence[int] = (),
) -> Log:
    """Runs commands through a sequencer, with the commits and crashes in the list.

    Commands after the last `Commit` are committed at the end. After a `Crash` the worker starts
    from the committed state and reads the uncommitted commands again.

    ``at``: the broker's time of each command, if the time matters.
    """
    sources: list[Source] = []
    log = Log()
    sequencer, batch = _restart(log, limits, busy_limit, compact_share), Log()

    def catch_up() -> None:
        for record in sources[sequencer.progress.next_offset :]:
            sequencer.process(record, batch)

    for step in [*steps, Commit]:
        if step is Crash:
            sequencer, batch = _restart(log, limits, busy_limit, compact_share), Log()
        elif step is Commit:
            catch_up()
            sequencer.write_last(batch)
            batch.state(*progress_record(sequencer.progress))
            log.append(batch)
            batch = Log()
        else:
            assert not isinstance(step, type)
            time = at[len(sources)] if at else None
            sources.append(source(len(sources), step, time))
            catch_up()
    log.sources = sources
    return log


def _restart(log: Log, limits: Limits, busy_limit: int, compact_share: float) -> Sequencer:
    states = compacted(log.states, int(len(log.states) * compact_share))
    return Sequencer(limits, *restore(states, busy_limit))
