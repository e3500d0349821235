"""The errors of requests that the gateway cannot serve. They know nothing of HTTP.

`gateway.http.problems` maps each of them to a problem, and these errors of `schemas.errors`:
`Trimmed`, `CursorAhead`, `ServerUnavailable` for a server that does not answer or lags,
`InvalidCommand` for a command that was not sent, and `CommandRejected`.

ImError
├── ConversationNotFound   the conversation does not exist, or the caller was never a member
├── NotAMember             the caller is not a member now
├── CursorOfAnotherOrder   the cursor is not from a page in the requested order
├── ScopeTooWide           a search over more ranges of SeqIds than one query may name
├── DeviceNotFound         the device was never registered, or was removed
├── InvalidPushAddress     the deployment would send no notification to the address
├── TooManyDevices         the person has the maximum number of devices
├── TooManyListeners       the maximum number of readers wait, of the caller
│   └── NoListenerPlace    the maximum number of readers wait, in all
├── LimitReached           a command is beyond a limit; the same command may pass later
│   ├── TooManyCommands    of the person
│   ├── ConversationBusy   of the conversation
│   └── TooManyAdditions   of the people that the person adds
├── TooManyMembers         one command names too many people
├── DeliveryUnknown        a command was sent, and the broker has not acknowledged it
├── CommandNotFound        neither this gateway nor the store knows the command
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


class NotAMember(ImError):
    """The caller was a member, and only present members may read this."""

    def __init__(self) -> None:
        super().__init__("the caller is not a member")


class CursorOfAnotherOrder(ImError):
    """The cursor is not from a page in the requested order."""

    def __init__(self) -> None:
        super().__init__("the cursor is of another order")


class ScopeTooWide(ImError):
    """A search over all conversations needs too many ranges of SeqIds."""

    def __init__(self) -> None:
        super().__init__("the search has too many ranges of SeqIds")


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


class InvalidPushAddress(ImError):
    """The deployment would send no notification to the address.

    Args:
        field: The invalid field.
        reason: The broken rule, without the value.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class TooManyListeners(ImError):
    """The maximum number of readers of this person wait for records."""

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


class NoListenerPlace(TooManyListeners):
    """The maximum number of readers of all people wait for records."""


class LimitReached(ImError):
    """A command is beyond a limit. It was not sent.

    Args:
        wait_seconds: The time after which the same command may pass.
    """

    def __init__(self, wait_seconds: float) -> None:
        super().__init__(f"beyond a limit for {wait_seconds:.1f} s")
        self.wait_seconds = wait_seconds


class TooManyCommands(LimitReached):
    """The person has sent too many commands."""


class ConversationBusy(LimitReached):
    """The conversation has received too many commands."""


class TooManyAdditions(LimitReached):
    """The person has added too many people."""


class TooManyMembers(ImError):
    """A command names too many people. It was not sent.

    Args:
        most: The maximum.
    """

    def __init__(self, most: int) -> None:
        super().__init__(f"the command names more than {most} people")
        self.most = most


class TokenExpired(ImError):
    """The caller's token has expired during a wait."""

    def __init__(self) -> None:
        super().__init__("the token has expired")
