"""Shards of sync timelines against what the log says that their recipients have to get."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple, get_args
from zlib import crc32

from ops.verify.audience import Cursor, Run, cursors
from ops.verify.checks import run_check
from ops.verify.conversation import ABSENT, Conversation, digest_of
from ops.verify.log import KafkaRecord, Log
from ops.verify.replies import ReplyKind
from ops.verify.reply_rules import broken_reply
from ops.verify.report import Report
from ops.verify.shards import Shard, Shards, SyncPosition, position_of, record_digest

READ_MARKED: Final = "read_marked"
_REPLIES: Final[dict[str, ReplyKind]] = {kind: kind for kind in get_args(ReplyKind)}
_NOBODY: Final[dict[bytes, Cursor]] = {}


class _Value(NamedTuple):
    """What all records with the same value have in common; an entry goes to many."""

    position: SyncPosition | None
    digest: int
    known: int
    """Digest of the log's entry in that place."""
    state: int


def compare_sync_log(
    log: Log,
    shards: Shards,
    group: Sequence[Shard],
    read: Callable[[Sequence[Shard]], Iterable[KafkaRecord]],
    report: Report,
) -> None:
    """Compares all records of some shards with what is due, and keeps their digests.

    Args:
        log: All of ``im.timeline``.
        shards: All that there are.
        group: One of their `Shards.groups`. They take the digests. A ``low`` above 0 means that
            older records were dropped.
        read: Gives the records of shards of one epoch, those of each in order, with offsets from
            ``low`` to below ``end``.
        report: Where differences go.
    """
    epochs = (read(list(of_epoch)) for _, of_epoch in groupby(group, attrgetter("epoch")))
    run_check(_Check(log, shards, group, report), epochs)


class _Check:
    def __init__(self, log: Log, shards: Shards, group: Sequence[Shard], report: Report) -> None:
        self._log = log
        self._shards = shards
        self._group = group
        self._report = report
        self._counts = report.section("sync-log").counts
        is_wanted = group[0].holds if len(group) == 1 else _is_anybody
        self._due = {
            conv_id: cursors(conversation, is_wanted)
            for conv_id, conversation in log.conversations.items()
        }
        self._retractions = {
            (conv_id, user, target)
            for conv_id, conversation in log.conversations.items()
            for user, targets in conversation.retractions.items()
            if is_wanted(user)
            for target in targets
        }
        self._shard = group[0]
        """Whose records are being read."""
        # For each shard and partition of the timeline, the offset of the first entry there.
        self._floors: dict[tuple[int, int], int] = {}

    def take(self, records: Iterable[KafkaRecord]) -> None:
        """Takes the records of an epoch.

        The loop runs once for each of them, so the ordinary way calls nothing of ours.
        """
        shard, several = self._shard, len(self._group) > 1
        digests, states, low = shard.digests, shard.states, shard.low
        last: bytes | None = None
        value = self._value(None)
        recipients, seq, count = _NOBODY, 0, 0
        for number, offset, key, content in records:
            count += 1
            if number != shard.number:
                shard = self._shard = self._shards.by_number[number]
                digests, states, low = shard.digests, shard.states, shard.low
                last, value, recipients, seq = None, self._value(None), _NOBODY, 0
            if content != last:
                last, value = content, self._value(content)
                recipients, seq = self._recipients(value)
            cursor = recipients.get(key)  # type: ignore[arg-type]  # None is nobody's key
            if (
                key is None
                or cursor is None
                or cursor.next != seq
                or (several and not shard.holds(key.decode()))
            ):
                self._take_odd(offset, key, value)
                continue
            if seq == cursor.last:
                cursor.step()
            else:
                cursor.next = seq + 1
            digests[offset - low] = crc32(key, value.digest)
            states[offset - low] = value.state
        self._counts["records"] += count

    def finish(self) -> None:
        """Names what has not come."""
        for conv_id, recipients in self._due.items():
            conversation = self._log.conversations[conv_id]
            for key, cursor in recipients.items():
                for run in cursor.missing():
                    self._miss(conversation, key, run)
        for conv_id, user, target in sorted(self._retractions):
            conversation = self._log.conversations[conv_id]
            if conversation.recalled[target] > self._trimmed(conversation, user):
                place = {"conv_id": conv_id, "user": user, "detail": f"retraction of {target}"}
                self._report.differ("sync-log", "missing", **place)
        for shard in self._group:
            if shard.low > 0:
                self._report.section("sync-log").notes.append(
                    f"{shard.name}: retention dropped what was before offset {shard.low}, it is "
                    "checked from there"
                )

    def _value(self, content: bytes | None) -> _Value:
        position = position_of(content)
        digest = digest_of(content or b"")
        if position is None:
            return _Value(None, digest, ABSENT, self._shard.state_of(self._shard.expired_before))
        self._shard.first_at.setdefault(self._log.lane_of(position.conv_id), position.at)
        known = self._log.digest(position.conv_id, position.seq)
        return _Value(position, digest, known, self._shard.state_of(position.at))

    def _recipients(self, value: _Value) -> tuple[dict[bytes, Cursor], int]:
        """Who has to get it, and its SeqId; nobody where it needs a closer look."""
        if value.position is None or value.known != value.digest:
            return _NOBODY, 0
        seq = value.position.seq
        conversation = self._log.conversations[value.position.conv_id]
        place = self._shard.number, conversation.partition
        self._floors.setdefault(place, conversation.offsets[seq - 1])
        return self._due[conversation.conv_id], seq

    def _take_odd(self, offset: int, key: bytes | None, value: _Value) -> None:
        """Takes a record that is not simply the next one of its recipient."""
        shard, report, position = self._shard, self._report, value.position
        shard.digests[offset - shard.low] = record_digest(key or b"", value.digest)
        shard.states[offset - shard.low] = value.state
        where = f"{shard.name}@{offset}"
        user = _text(key)
        if position is None or key is None or user is None:
            report.differ("sync-log", "undecodable", where=where, user=user or "")
            return
        place: dict[str, Any] = {
            "conv_id": position.conv_id,
            "seq": position.seq,
            "user": user,
            "where": where,
        }
        if not shard.holds(user):
            report.differ("sync-log", "misplaced", **place, detail=self._belongs(user))
        elif position.kind in _REPLIES:
            self._take_reply(_REPLIES[position.kind], position, place)
        elif position.kind == "retracted":
            self._take_retraction(position, place)
        elif position.seq > self._log.head(position.conv_id):
            newer = partial(self._log.holds, position.conv_id, position.seq, value.digest)
            report.hold("sync-log", newer, **place)
        else:
            self._take_entry(key, position, value, place)

    def _take_reply(self, kind: ReplyKind, position: SyncPosition, place: dict[str, Any]) -> None:
        self._counts[kind] += 1
        if position.sender != place["user"]:
            detail = "a reply goes to who sent the command"
            self._report.differ("sync-log", "extra", **place, detail=detail)
        else:
            name = (position.conv_id, position.sender, position.device_id, position.client_msg_id)
            lane = self._log.lane_of(position.conv_id)
            self._shards.replies.add(lane, position.at, kind, *name)
        conversation = self._log.conversations.get(position.conv_id)
        marked = self._shards.marked(position.conv_id, place["user"], self._shard.number)
        for broken, detail in broken_reply(conversation, position, marked):
            self._report.differ("sync-log", broken, **place, detail=detail)
        if kind != READ_MARKED:
            return
        self._shard.mark(position.conv_id, place["user"], position.seq)
        if position.seq > self._log.head(position.conv_id):
            newer = partial(self._log.holds, position.conv_id, position.seq, None)
            self._report.hold("sync-log", newer, **place)

    def _take_retraction(self, position: SyncPosition, place: dict[str, Any]) -> None:
        self._counts[position.kind] += 1
        told = (position.conv_id, place["user"], position.target)
        if told in self._retractions:
            self._retractions.remove(told)
        else:
            self._report.hold("sync-log", partial(self._log.retracts, *told), **place)

    def _take_entry(
        self, key: bytes, position: SyncPosition, value: _Value, place: dict[str, Any]
    ) -> None:
        cursor = self._due.get(position.conv_id, _NOBODY).get(key)
        arrival = "extra" if cursor is None else cursor.take(position.seq)
        if arrival != "next":
            self._report.differ("sync-log", arrival, **place)
        if value.known != value.digest:
            detail = "not in the log" if value.known == ABSENT else "not the bytes of the log"
            self._report.differ("sync-log", "altered", **place, detail=detail)

    def _miss(self, conversation: Conversation, key: bytes, run: Run) -> None:
        trimmed = self._trimmed(conversation, key.decode())
        dropped = max(0, min(run.last, trimmed) - run.first + 1)
        self._counts["trimmed"] += dropped
        for first, last in _without_holes(conversation, Run(run.first + dropped, run.last)):
            self._report.differ(
                "sync-log",
                "missing",
                conv_id=conversation.conv_id,
                seq=first,
                through=last,
                records=last - first + 1,
                user=key.decode(),
            )

    def _belongs(self, user: str) -> str:
        home = self._shards.of(user, self._shard.epoch)
        return f"belongs on {home.name}" if home else "belongs to no shard of that epoch"

    def _trimmed(self, conversation: Conversation, user: str) -> int:
        """The last SeqId whose records retention may have dropped, 0 if none.

        The entries of one partition of the timeline come in one order. What lies before the
        first that is in a shard, or is that one, may have lain before the begin of the shard; if
        there is none, before the first in the next.
        """
        chain = self._shards.chain(user)
        cut = [at for at, shard in enumerate(chain) if shard.low > 0]
        if not cut:
            return 0
        for shard in chain[cut[-1] :]:
            floor = self._floors.get((shard.number, conversation.partition))
            if floor is not None:
                return bisect_right(conversation.offsets, floor)
        return conversation.head


def _without_holes(conversation: Conversation, run: Run) -> Iterator[Run]:
    """The parts of a run that the log has: what it lacks is no difference of the copies."""
    first = run.first
    for seq in range(run.first, run.last + 1):
        if conversation.digests[seq - 1] == ABSENT:
            if first < seq:
                yield Run(first, seq - 1)
            first = seq + 1
    if first <= run.last:
        yield Run(first, run.last)


def _is_anybody(_user: str) -> bool:
    return True


def _text(key: bytes | None) -> str | None:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return None
