"""Everything that can go wrong by name.

ImError
├── UndecodableRecord     a record that is not one of ours: goes to the dead letters
├── ConfigurationError    a setting or an environment that cannot work: ends with a clear line
├── ServerUnavailable     a server does not answer within a bound
├── TransientFailure      the same call may pass later: wait and retry
├── PoisonRecord          this record can never pass: to the dead letters
├── FatalFailure          this process cannot go on: end it, the supervisor starts another
│   ├── SourceGap         records between the state and the next fetched one are missing
│   ├── WrongDeployment   topics, tables or index that do not belong together
│   ├── TooManyPoison     more dead letters than chance explains
│   ├── NoPartitions      no partition was assigned for too long, although some have no owner
│   ├── NoProgress        records wait, and the stage has not moved for too long
│   └── ClientEnded       a background task of a client library ended by itself
├── InvalidCommand        a command that the sequencer would refuse: it is not even queued
├── InvalidLine           a line of a file to load that is not one of the format
├── Interrupted           a person ended a command; the message says how to go on
├── OutboxFull            the client has more unsent commands than its bound
├── OutboxInUse           another process has the outbox open
├── PublisherClosed       what was queued is in the outbox, and goes on when it is opened again
├── NotYet                a wait's bound has passed; what was waited for may still come
├── Stalled               a stage made no progress within a bound
├── RequestRefused        the gateway answered a request with a problem
├── Trimmed               the sync timeline no longer holds what follows the cursor
└── CommandRejected       the sequencer refused a command, with a `RejectionCode`
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

RejectionCode: TypeAlias = Literal[
    "invalid",  # an id, a list or a number that is out of its range
    "too_large",  # the text, the message or a list is longer than its limit
    "empty",  # a reader would see nothing of the text
    "unknown_conversation",  # nobody created it
    "already_exists",  # somebody created it
    "not_a_member",  # the sender is not in it, or none of the people to remove is
    "already_a_member",  # all the people to add are in it
    "no_room",  # more people would have sync timelines than the deployment has room for
    "not_allowed",  # the sender may not do that here
    "unknown_message",  # there is no message with that SeqId
    "already_recalled",  # it was taken back before
    "too_late",  # it is older than what may be recalled or edited
    "too_many_edits",  # it has as many as a message may have
    "conflict",  # the same client_msg_id came before with another content
    "stale",  # older than the window of remembered ids: done long ago, or far too late
]

REJECTION_CODES: Final[tuple[str, ...]] = get_args(RejectionCode)


class ImError(Exception):
    """Root of the errors of this project."""


class UndecodableRecord(ImError):
    """The bytes are not a record that this version knows; the message says why, without text."""


class ConfigurationError(ImError):
    """A setting or the environment cannot work; the message says what to change."""


class ServerUnavailable(ImError):
    """A server did not answer within the bound that the message names."""


class TransientFailure(ImError):
    """The call failed for now. Whoever catches it waits and calls again."""


class PoisonRecord(ImError):
    """One record can never pass. Carries its place in the batch that was handed over.

    Args:
        index: Position of the record in the batch, from 0.
        reason: Why it cannot pass; holds no text of a message.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"record {index} of the batch: {reason}")
        self.index = index
        self.reason = reason


class FatalFailure(ImError):
    """This process cannot go on. It exits with `exit_code`."""

    exit_code = 70


class SourceGap(FatalFailure):
    """The next fetched record lies beyond the one that the restored state expects."""

    exit_code = 71


class WrongDeployment(FatalFailure):
    """Topics, tables or an index do not belong to one deployment. A restart does not help.

    The message names what was expected and what was found, and the page with the way out.
    """

    exit_code = 78  # EX_CONFIG of sysexits.h


class TooManyPoison(FatalFailure):
    """The share or the run of poison records is beyond what chance explains."""

    exit_code = 72


class NoPartitions(FatalFailure):
    """The stage had no partition for too long, although the group leaves some without an owner."""

    exit_code = 73


class NoProgress(FatalFailure):
    """Records wait for the stage, and it has not moved for longer than its bound."""

    exit_code = 74


class ClientEnded(FatalFailure):
    """A background task of a client library ended by itself, so nothing more would arrive."""

    exit_code = 75


class InvalidCommand(ImError):
    """The sequencer would refuse this command. It was not queued.

    Args:
        code: What the sequencer would have answered.
        reason: What is wrong; holds no text of a message.
    """

    def __init__(self, code: RejectionCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class InvalidLine(ImError):
    """A line of a file to load is not one of the format; the message names the line."""


class Interrupted(ImError):
    """A person ended a command by Ctrl-C. The message says how to go on."""

    exit_code = 130


class OutboxFull(ImError):
    """The outbox holds as many commands as it may. Send again when some have left."""


class OutboxInUse(ImError):
    """Another process has the outbox open: each needs its own."""


class PublisherClosed(ImError):
    """The publisher was closed. What it had queued goes on when its outbox is opened again."""


class NotYet(ImError, TimeoutError):
    """The bound of a wait has passed. What was waited for was not given up and may still come."""


class Stalled(ImError):
    """A stage made no progress within the bound that the message names."""


class RequestRefused(ImError):
    """The gateway answered a request with a problem that asking again does not solve.

    Args:
        status: Of HTTP: 400 for a parameter, 401 for the token, 404 for what is not there.
        detail: What the gateway says, in its words.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the gateway refused ({status}): {detail}")
        self.status = status


class Trimmed(ImError):
    """The sync timeline no longer holds what follows the cursor: rebuild from the store.

    Args:
        cursor: The sync SeqId behind which reading was to go on.
        oldest: The oldest sync SeqId that is still held.
    """

    def __init__(self, cursor: int, oldest: int) -> None:
        super().__init__(f"the cursor {cursor} is older than what is kept, {oldest} and later")
        self.cursor = cursor
        self.oldest = oldest


class CommandRejected(ImError):
    """The sequencer refused a command.

    Args:
        code: Why.
        client_msg_id: Which command.
    """

    def __init__(self, code: RejectionCode, client_msg_id: str) -> None:
        super().__init__(f"command {client_msg_id} was rejected: {code}")
        self.code = code
        self.client_msg_id = client_msg_id
