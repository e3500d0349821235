"""The errors of the client. No message of an error quotes the text of a message.

ImError
├── GatewayUnavailable   the gateway does not answer within the bound; a command had no effect
├── OutcomeUnknown       a command was sent, and its outcome is not known within the bound
├── CommandRejected      the sequencer rejected a command; the command has no effect
├── RequestRefused       the gateway refuses a request, and a retry does not help
│   └── CursorAhead      the cursor is beyond the end of the log, which has lost records
├── Trimmed              sync records after the cursor have expired
├── UnexpectedAnswer     this version of the client does not know the format of an answer
├── InvalidToken         the token does not name a person
└── ClientClosed         the client is not open
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from im_timeline_client.commands import Command


class ImError(Exception):
    """Root of the errors of the client."""


class GatewayUnavailable(ImError):
    """The gateway does not answer now. The same request may succeed later.

    A command that raises this error was not sent.

    Args:
        detail: The reason.
        retry_after: Seconds that the gateway asks to wait, 0 if it does not ask.
        is_effect_possible: Whether the failed attempt may have had an effect.
    """

    def __init__(
        self, detail: str, *, retry_after: float = 0.0, is_effect_possible: bool = False
    ) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        self.is_effect_possible = is_effect_possible


class OutcomeUnknown(ImError):
    """A command was sent, and its outcome is not known within the bound.

    The command may have an effect or not. `Client.repeat` waits for the outcome again, and has no
    second effect.

    Args:
        command: The command.
    """

    def __init__(self, command: Command) -> None:
        super().__init__(f"the outcome of the command {command.client_msg_id} is not known")
        self.command = command
        self.client_msg_id = command.client_msg_id


class CommandRejected(ImError):
    """The sequencer rejected a command, which has no effect.

    Args:
        code: The reason, such as ``not_a_member``: a code of docs/conversations.md.
        client_msg_id: The id of the command.
    """

    def __init__(self, code: str, client_msg_id: str) -> None:
        super().__init__(f"the command {client_msg_id} is rejected: {code}")
        self.code = code
        self.client_msg_id = client_msg_id


class RequestRefused(ImError):
    """The gateway refuses a request, and a retry does not help.

    Args:
        status: The HTTP status: 400 for a parameter, 401 for the token, 404 for a missing item.
        kind: The last part of the problem's type, such as ``unauthorized``.
        detail: The detail of the problem.
        code: The reason of a rejection, if the sequencer rejected a command.
    """

    def __init__(self, status: int, kind: str, detail: str, code: str | None = None) -> None:
        super().__init__(f"the gateway refuses the request ({status} {kind}): {detail}")
        self.status = status
        self.kind = kind
        self.detail = detail
        self.code = code


class CursorAhead(RequestRefused):
    """The cursor is beyond the end of the log.

    The log has lost the records up to the cursor, because an operator restored a backup, or the
    cursor is of another deployment. Begin again without a cursor.
    """

    KIND: Final = "cursor-ahead"


class Trimmed(ImError):
    """Sync records after the cursor have expired; all records from ``oldest`` on are available.

    Args:
        cursor: The given cursor.
        oldest: The sync SeqId of the oldest record that is stored.
    """

    def __init__(self, cursor: int, oldest: int) -> None:
        super().__init__(f"records after the cursor {cursor} have expired, up to {oldest}")
        self.cursor = cursor
        self.oldest = oldest


class UnexpectedAnswer(ImError):
    """This version of the client does not know the format of an answer."""


class InvalidToken(ImError):
    """The token is not a JWT that names a person."""


class ClientClosed(ImError):
    """The client is not open: use it inside of ``async with connect(…)``."""
