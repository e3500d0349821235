"""The records of sync timelines without an entry: replies and retractions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, get_args

from audit.floors import Floors
from audit.log import Log
from audit.reply_records import ReplyKind
from audit.reply_rules import broken_reply
from audit.report import AuditReport
from audit.sync_shards import AuditedShards, Shard, SyncPosition
from schemas.number_types import SeqId

READ_MARKED: Final = "read_marked"
MUTED: Final = "conversation_muted"
_RETRACTED: Final = "retracted"
_REPLIES: Final[dict[str, ReplyKind]] = {kind: kind for kind in get_args(ReplyKind)}
INLINE: Final = frozenset({*_REPLIES, _RETRACTED})
"""Kinds of records without an entry: a row in the store holds the record itself."""


class InlineRecords:
    """Checks the replies and the retractions of some shards.

    Args:
        log: All of ``im.timeline``.
        shards: All shards.
        is_wanted: Whether the shards belong to a person.
        report: Receives the differences.
    """

    def __init__(
        self,
        log: Log,
        shards: AuditedShards,
        is_wanted: Callable[[str], bool],
        report: AuditReport,
    ) -> None:
        self._log = log
        self._shards = shards
        self._report = report
        self._counts = report.section("sync-log").counts
        self._retractions = {
            (conv_id, user, target)
            for conv_id, conversation in log.conversations.items()
            for user, targets in conversation.retractions.items()
            if is_wanted(user)
            for target in targets
        }

    def finish(self, floors: Floors) -> None:
        """Report the retractions that did not arrive and have not expired."""
        for conv_id, user, target in sorted(self._retractions):
            conversation = self._log.conversations[conv_id]
            if conversation.recalled[target] > floors.trimmed(conversation, user):
                place = {"conv_id": conv_id, "user": user, "detail": f"retraction of {target}"}
                self._report.differ("sync-log", "missing", **place)

    def take(
        self, shard: Shard, users: Sequence[str], position: SyncPosition, place: dict[str, Any]
    ) -> None:
        """Process a record. A reply has one recipient, a retraction several."""
        self._counts[position.kind] += 1
        if position.kind == _RETRACTED:
            for user in users:
                self._take_retraction(position, place | {"user": user})
            return
        if len(users) > 1:
            detail = f"the key lists {len(users)} recipients"
            self._report.differ(
                "sync-log", "shared_reply", **place, user=position.sender, detail=detail
            )
            users = [user for user in users if user == position.sender] or users[:1]
        for user in users:
            self._take_reply(shard, _REPLIES[position.kind], position, place | {"user": user})

    def _take_reply(
        self, shard: Shard, kind: ReplyKind, position: SyncPosition, place: dict[str, Any]
    ) -> None:
        if position.sender != place["user"]:
            detail = "the recipient is not the sender of the command"
            self._report.differ("sync-log", "extra", **place, detail=detail)
        else:
            name = (position.conv_id, position.sender, position.device_id, position.client_msg_id)
            partition = self._log.source_partition_of(position.conv_id)
            self._shards.replies.add(partition, position.at, kind, *name)
        conversation = self._log.conversations.get(position.conv_id)
        marked = self._shards.marked(position.conv_id, place["user"], shard.number)
        for broken, detail in broken_reply(conversation, position, SeqId(marked)):
            self._report.differ("sync-log", broken, **place, detail=detail)
        if kind not in {READ_MARKED, MUTED}:
            return
        shard.take_mark(position, place["user"])
        if position.seq > self._log.head(position.conv_id):
            newer = partial(self._log.holds, position.conv_id, position.seq, None)
            self._report.hold("sync-log", newer, **place)

    def _take_retraction(self, position: SyncPosition, place: dict[str, Any]) -> None:
        retraction = (position.conv_id, place["user"], position.target)
        if retraction in self._retractions:
            self._retractions.remove(retraction)
        else:
            self._report.hold("sync-log", partial(self._log.retracts, *retraction), **place)
