"""The errors of this project.

ImError
├── UndecodableRecord     a record that this version does not know: becomes a dead letter
├── ConfigurationError    a setting or an environment that cannot work: ends with a clear line
│   └── CursorAhead       a cursor beyond the end of the log: of another one, or of lost records
├── RetryableError        the same call may pass later: wait and retry
│   ├── ServerUnavailable a server does not answer within a bound
│   └── TransientFailure  a call failed temporarily
├── PoisonRecord          this record can never pass: becomes a dead letter
├── FatalFailure          this process cannot continue: it ends, the supervisor starts another
│   ├── SourceGap         records between the state and the next fetched one are missing
│   ├── WrongDeployment   topics, tables or index that do not belong together
│   ├── AccessRefused     a server and this client do not accept each other's credentials
│   ├── TooManyPoison     more dead letters than chance explains
│   ├── NoPartitions      no partition was assigned for too long, although some have no owner
│   ├── NoProgress        records wait, and the stage has not moved for too long
│   └── ClientEnded       a background task of a client library ended by itself
├── InvalidCommand        a command that the sequencer would refuse: it is not queued
├── InvalidLine           a line of a file to load that does not have the format
├── Interrupted           a person ended a command; the message states how to continue
├── OutboxFull            the client has more unsent commands than its bound
├── OutboxInUse           another process has the outbox open
├── PublisherClosed       queued commands are in the outbox; they continue when it is opened again
├── NotYet                a wait's bound has passed; the awaited outcome may still arrive
├── Stalled               a stage made no progress within a bound
├── RequestRefused        the gateway answered a request with a problem
├── Trimmed               the sync timeline no longer has the records after the cursor
└── CommandRejected       the sequencer refused a command, with a `RejectionCode`
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from schemas.number_types import Offset, SyncSeqId

RejectionCode: TypeAlias = Literal[
    "invalid",  # an id, a list or a number is out of its range
    "too_large",  # the text, the message or a list is longer than its limit
    "empty",  # the text has no visible character
    "unknown_conversation",  # the conversation was not created
    "already_exists",  # the conversation was created before
    "not_a_member",  # the sender is not a member, or none of the people to remove is
    "already_a_member",  # all the people to add are members
    "no_room",  # more people would have sync timelines than the deployment has room for
    "not_allowed",  # the sender has no permission for the command
    "unknown_message",  # there is no message with that SeqId
    "already_recalled",  # the message was recalled before
    "too_late",  # the message is too old to be recalled or edited
    "too_many_edits",  # the message has the maximum number of edits
    "conflict",  # the client_msg_id was used before with another content
    "stale",  # older than the window of remembered ids: a late retry, or a very late command
]

REJECTION_CODES: Final[tuple[RejectionCode, ...]] = get_args(RejectionCode)


class ImError(Exception):
    """Root of the errors of this project."""


class UndecodableRecord(ImError):
    """The bytes are not a record that this version knows; the message has the reason, no text."""


class ConfigurationError(ImError):
    """A setting or the environment cannot work; the message states what to change.

    A process of the pipeline exits with `exit_code`. A restart does not help.
    """

    exit_code = 78  # EX_CONFIG of sysexits.h


class RetryableError(ImError):
    """The same call may pass later. A process that can wait retries the call."""


class ServerUnavailable(RetryableError):
    """A server did not answer within the bound that the message names."""


class TransientFailure(RetryableError):
    """The call failed temporarily. The caller waits and calls again."""


class PoisonRecord(ImError):
    """One record of a batch can never pass.

    Args:
        index: Position of the record in the batch, from 0.
        reason: Why the record cannot pass; has no text of a message.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"record {index} of the batch: {reason}")
        self.index = index
        self.reason = reason


class FatalFailure(ImError):
    """This process cannot continue. It exits with `exit_code`."""

    exit_code = 70


class SourceGap(FatalFailure):
    """The next fetched record lies beyond the one that the restored state expects."""

    exit_code = 71


class WrongDeployment(FatalFailure):
    """Topics, tables or an index do not belong to one deployment. A restart does not help.

    The message states the expected and the found identity, and the page with the solution.
    """

    exit_code = ConfigurationError.exit_code


class AccessRefused(FatalFailure):
    """A server refuses the credentials or a request, or has a certificate that is not trusted.

    The message states which settings or rules to correct; it has no secret.
    """

    exit_code = ConfigurationError.exit_code


class TooManyPoison(FatalFailure):
    """The share or the number of successive poison records is higher than chance explains."""

    exit_code = 72


class NoPartitions(FatalFailure):
    """The stage had no partition for too long, although some partitions have no owner."""

    exit_code = 73


class NoProgress(FatalFailure):
    """Records wait for the stage, and the stage has not moved for longer than its bound."""

    exit_code = 74


class ClientEnded(FatalFailure):
    """A background task of a client library ended by itself, so no more records would arrive."""

    exit_code = 75


class InvalidCommand(ImError):
    """The sequencer would refuse this command. It was not queued.

    Args:
        code: The code with which the sequencer would have refused the command.
        reason: The fault of the command; quotes nothing of the command.
        field: The name of the wrong field; empty if the whole command is wrong.
        given: The end of the error's message, which may quote an id.
    """

    def __init__(
        self, code: RejectionCode, reason: str, *, field: str = "", given: str = ""
    ) -> None:
        super().__init__(reason + given)
        self.code = code
        self.reason = reason
        self.field = field


class InvalidLine(ImError):
    """A line of a file to load does not have the format; the message names the line."""


class Interrupted(ImError):
    """A person ended a command by Ctrl-C. The message states how to continue."""

    exit_code = 130


class OutboxFull(ImError):
    """The outbox holds the maximum number of commands. Send again when some were sent."""


class OutboxInUse(ImError):
    """Another process has the outbox open: each process needs its own outbox."""


class PublisherClosed(ImError):
    """The publisher was closed. Queued commands continue when the outbox is opened again."""


class NotYet(ImError, TimeoutError):
    """The bound of a wait has passed. The operation was not cancelled and may still complete."""


class Stalled(ImError):
    """A stage made no progress within the bound that the message names."""


class CursorAhead(ConfigurationError):
    """A cursor is beyond the end of the log.

    The log has lost the records up to the cursor, because an operator restored a backup, or the
    cursor is of another deployment.

    Args:
        name: The name of the cursor in the request, or its value and owner.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the cursor {name} is ahead of the sync timeline: of lost records, or of another "
            "deployment"
        )
        self.name = name


class RequestRefused(ImError):
    """The gateway refused a request with a problem that a retry does not solve.

    Args:
        status: The HTTP status: 400 for a parameter, 401 for the token, 404 for a missing item.
        detail: The detail of the gateway's response.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the gateway refused ({status}): {detail}")
        self.status = status


class Trimmed(ImError):
    """The sync timeline no longer has the records after the cursor: rebuild from the store.

    Args:
        cursor: The cursor of the reader: a sync SeqId; in a tail of a partition, an offset.
        oldest: The oldest sync SeqId or offset that is still stored.
    """

    def __init__(self, cursor: SyncSeqId | Offset, oldest: SyncSeqId | Offset) -> None:
        super().__init__(f"the cursor {cursor} is older than the oldest stored record, {oldest}")
        self.cursor = cursor
        self.oldest = oldest


class CommandRejected(ImError):
    """The sequencer refused a command.

    Args:
        code: The reason.
        client_msg_id: The id of the command.
    """

    def __init__(self, code: RejectionCode, client_msg_id: str) -> None:
        super().__init__(f"command {client_msg_id} was rejected: {code}")
        self.code = code
        self.client_msg_id = client_msg_id
