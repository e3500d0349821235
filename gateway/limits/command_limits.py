"""The limits of commands over HTTP: for one person, in one conversation, and on additions.

A command that one limit refuses counts for no limit. Trusted services write to Kafka and meet none
of these limits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from gateway.errors import ConversationBusy, TooManyAdditions, TooManyCommands, TooManyMembers
from gateway.limits.token_buckets import TokenBuckets
from schemas.http_limits import HttpLimitSettings
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    RemoveMembers,
    makes_no_entry,
)

BURST_SECONDS: Final = 5
"""A bucket of commands holds the commands of this time: a device that was offline sends its
queue."""

_HOUR_SECONDS: Final = 3_600


class CommandLimits:
    """The limits of one gateway.

    Args:
        settings: The numbers.
        clock: The time in nanoseconds, from any origin.
    """

    def __init__(
        self, settings: HttpLimitSettings, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        of_person = settings.http_commands_per_second * BURST_SECONDS
        of_conversation = settings.http_conversation_commands_per_second * BURST_SECONDS
        self._max_members = settings.http_members_per_command
        self._commands = TokenBuckets(of_person, BURST_SECONDS, clock)
        self._conversation = TokenBuckets(of_conversation, BURST_SECONDS, clock)
        self._additions = TokenBuckets(settings.http_additions_per_hour, _HOUR_SECONDS, clock)

    def check(self, command: AnyCommand) -> None:
        """Counts a command before it is sent.

        Raises:
            TooManyMembers: The command names more people than a command may name.
            TooManyCommands: The sender has sent too many commands.
            ConversationBusy: The conversation has received too many commands.
            TooManyAdditions: The sender has added too many people.
        """
        if len(_named(command)) > self._max_members:
            raise TooManyMembers(self._max_members)
        sender, added, in_conversation = command.sender, len(_added(command)), _is_entry(command)
        if wait := self._commands.wait_seconds(sender):
            raise TooManyCommands(wait)
        if in_conversation and (wait := self._conversation.wait_seconds(command.conv_id)):
            raise ConversationBusy(wait)
        if added and (wait := self._additions.wait_seconds(sender, added)):
            raise TooManyAdditions(wait)
        self._commands.take(sender)
        if in_conversation:
            self._conversation.take(command.conv_id)
        if added:
            self._additions.take(sender, added)

    def give_back(self, command: AnyCommand) -> None:
        """A counted command was rejected: it counts for its sender only.

        So a stranger, whose commands are rejected, does not use up the limit of a conversation.
        """
        if _is_entry(command):
            self._conversation.give_back(command.conv_id)
        if added := len(_added(command)):
            self._additions.give_back(command.sender, added)


def _is_entry(command: AnyCommand) -> bool:
    """Whether the command makes an entry. The read marks and mutes of each member make none."""
    return not makes_no_entry(command)


def _named(command: AnyCommand) -> list[str]:
    match command:
        case CreateConversation() | AddMembers() | RemoveMembers():
            return command.members
    return []


def _added(command: AnyCommand) -> set[str]:
    match command:
        case CreateConversation() | AddMembers():
            return set(command.members) - {command.sender}
    return set()
