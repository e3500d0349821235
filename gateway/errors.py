"""The errors of requests that the gateway cannot serve. They know nothing of HTTP.

`gateway.http.problems` maps each of them to a problem, and these errors of `schemas.errors`:
`Trimmed`, `ServerUnavailable` for a server that does not answer or lags, `InvalidCommand` for a
command that was not sent, and `CommandRejected`.

ImError
├── ConversationNotFound   the conversation does not exist, or the caller was never a member
├── ScopeTooWide           a search over more ranges of SeqIds than one query may name
├── CursorAhead            a cursor beyond the end of the log: from another deployment
├── DeviceNotFound         the device was never registered, or was removed
├── TooManyDevices         the person has the maximum number of devices
├── TooManyListeners       the maximum number of readers wait, of the caller or in all
├── DeliveryUnknown        a command was sent, and the broker has not acknowledged it
├── CommandNotFound        this gateway does not remember the command
└── TokenExpired           the caller's token has expired during a wait
"""

from __future__ import annotations

from schemas.errors import ImError


class ConversationNotFound(ImError):
    """There is no such conversation, or the caller was never a member: one error for both.

    So a caller cannot find out which conversations exist.
    """

    def __init__(self) -> None:
        super().__init__("no such conversation, or the caller was never a member")


class ScopeTooWide(ImError):
    """A search over all conversations needs too many ranges of SeqIds."""

    def __init__(self) -> None:
        super().__init__("the search has too many ranges of SeqIds")


class CursorAhead(ImError):
    """The cursor is beyond the end of this deployment's log.

    Args:
        name: The name of the cursor in the request.
    """

    def __init__(self, name: str) -> None:
        super().__init__("the cursor is beyond the end of the log")
        self.name = name


class DeviceNotFound(ImError):
    """The caller has no device with this id."""

    def __init__(self) -> None:
        super().__init__("no such device")


class TooManyDevices(ImError):
    """The caller has the maximum number of devices.

    Args:
        most: The maximum.
    """

    def __init__(self, most: int) -> None:
        super().__init__(f"the caller has {most} devices")
        self.most = most


class TooManyListeners(ImError):
    """The maximum number of readers wait for records, of this person or in all."""

    def __init__(self) -> None:
        super().__init__("the maximum number of readers wait")


class DeliveryUnknown(ImError):
    """A command was sent, and the broker has not acknowledged it: the broker may have it.

    Args:
        client_msg_id: The id of the command, for a repetition.
    """

    def __init__(self, client_msg_id: str) -> None:
        super().__init__(f"command {client_msg_id} is not acknowledged")
        self.client_msg_id = client_msg_id


class CommandNotFound(ImError):
    """This gateway does not remember the command."""

    def __init__(self) -> None:
        super().__init__("no such command")


class TokenExpired(ImError):
    """The caller's token has expired during a wait."""

    def __init__(self) -> None:
        super().__init__("the token has expired")
