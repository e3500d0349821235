"""Finds the entries of each command: both follow each other in the same order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from audit.conversation import AuditedConversation
from audit.digests import ABSENT, command_hash
from audit.input_records import NO_POSITION, InputPartition
from audit.log import Log
from audit.report import AuditReport
from schemas.records import AnyCommand, makes_no_entry


class EntryMatcher:
    """The entries that the commands so far have made, by conversation.

    Args:
        log: All of ``im.timeline``.
        report: Receives the entries that no command made.
    """

    def __init__(self, log: Log, report: AuditReport) -> None:
        self._log = log
        self._report = report
        self._next: dict[str, int] = {}
        """By conversation, the place (from 0) of the entry that the next command makes."""

    def begin_of(self, partition: InputPartition, conversation: AuditedConversation) -> int | None:
        """The number of entries of all earlier commands; None if unknown."""
        begin = self._next.get(conversation.conv_id)
        if begin is None and partition.floor is not None:
            begin = bisect_right(conversation.offsets, partition.floor)
        return begin

    def take_entries(
        self, partition: InputPartition, command: AnyCommand, at: int, *, has_reply: bool
    ) -> range | None:
        """The places (from 0) of the entries of a command; None if it has no entry.

        Args:
            partition: The partition of the command.
            command: The next command of its conversation.
            at: The time of the command, in ms.
            has_reply: Whether a reply claims the command. Then only the next entry counts.
        """
        conversation = self._log.conversations.get(command.conv_id)
        if conversation is None or makes_no_entry(command):
            return None
        begin = self.begin_of(partition, conversation)
        wanted = command_hash(command)
        first = _find_entry(conversation, wanted, at, begin or 0, is_near=has_reply)
        if first is None:
            return None
        if begin is not None:
            self._name_extra(conversation, begin, first)
        elif partition.floor is None:
            partition.floor = conversation.offsets[first]
        last = first
        while last + 1 < conversation.head and (
            (conversation.commands[last + 1], conversation.times[last + 1]) == (wanted, at)
        ):
            last += 1
        self._next[command.conv_id] = last + 1
        return range(first, last + 1)

    def take_hole(self, command: AnyCommand) -> bool:
        """Whether the command's entry may be a missing entry of the log. Takes that entry."""
        conversation = self._log.conversations.get(command.conv_id)
        place = self._next.get(command.conv_id, 0)
        if conversation is None or makes_no_entry(command) or place >= conversation.head:
            return False
        if conversation.digests[place] != ABSENT:
            return False
        self._next[command.conv_id] = place + 1
        return True

    def has_made_later(self, command: AnyCommand) -> bool:
        """Whether the log has an entry of a command, with any time."""
        conversation = self._log.conversations.get(command.conv_id)
        begin = self._next.get(command.conv_id, 0)
        return conversation is not None and command_hash(command) in conversation.commands[begin:]

    def finish(self, partitions: Mapping[int, InputPartition]) -> None:
        """Report the entries after the last command of each conversation."""
        for conv_id, conversation in self._log.conversations.items():
            partition = partitions.get(conversation.partition)
            if partition is None or partition.floor is None:
                continue
            if partition.decided_end != NO_POSITION:
                after_floor = bisect_right(conversation.offsets, partition.floor)
                begin = self._next.get(conv_id, after_floor)
                self._name_extra(conversation, begin, conversation.head)

    def _name_extra(self, conversation: AuditedConversation, begin: int, end: int) -> None:
        """Report the entries between two places that no command made."""
        for place in range(begin, end):
            if conversation.digests[place] != ABSENT:
                self._report.differ(
                    "input",
                    "extra",
                    conv_id=conversation.conv_id,
                    seq=place + 1,
                    detail="no command made this entry",
                )


def _find_entry(
    conversation: AuditedConversation, wanted: int, at: int, begin: int, *, is_near: bool
) -> int | None:
    """The place of the first entry of a command; ``is_near``: only the place ``begin`` counts."""
    commands, times = conversation.commands, conversation.times
    if begin < len(commands) and commands[begin] == wanted and times[begin] == at:
        return begin
    place = begin
    while not is_near:
        try:
            place = commands.index(wanted, place)
        except ValueError:
            return None
        if times[place] == at:
            return place
        place += 1
    return None
