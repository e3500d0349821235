"""The problems of commands: a wrong field, a rejection, an unknown delivery.

| code of the rejection | status |
|---|---|
| `invalid`, `too_large`, `empty` | 400 |
| `not_a_member`, `not_allowed` | 403 |
| `unknown_conversation`, `unknown_message` | 404 |
| all others | 409 |

The kind of the problem is the code, with dashes: `not-a-member`.
"""

from __future__ import annotations

from typing import Final

from gateway.errors import DeliveryUnknown
from gateway.http.load_problems import RETRY_SECONDS
from gateway.http.problem_details import Problem
from gateway.http.problem_kinds import bad_body
from schemas.errors import CommandRejected, InvalidCommand, RejectionCode

_CONFLICT: Final = 409
_FIELDS: Final = {"to": "owner"}
"""The fields of commands that have another name in a body."""

_STATUS: Final[dict[RejectionCode, int]] = {
    "invalid": 400,
    "too_large": 400,
    "empty": 400,
    "not_a_member": 403,
    "not_allowed": 403,
    "unknown_conversation": 404,
    "unknown_message": 404,
}
_DETAIL: Final[dict[RejectionCode, str]] = {
    "invalid": "An id, a list or a number is out of its range.",
    "too_large": "The text, the message or a list is longer than its limit.",
    "empty": "The text has no visible character.",
    "unknown_conversation": "There is no such conversation.",
    "already_exists": "The conversation exists already.",
    "not_a_member": "You, or the person that you name, are not a member of the conversation.",
    "already_a_member": "All these people are members already.",
    "no_room": "The deployment has no room for more people.",
    "not_allowed": "You have no permission for this.",
    "unknown_message": "There is no message with this SeqId.",
    "already_recalled": "The message was recalled.",
    "too_late": "The message is too old to be recalled or edited.",
    "too_many_edits": "The message has the maximum number of edits.",
    "conflict": "The id was used before, for another request.",
    "stale": "A higher id of this conversation and device was used before. If this id was used "
    "before as well, its outcome is no longer remembered: read the conversation.",
}


def invalid_command(error: InvalidCommand) -> Problem:
    """The sequencer would reject the command in any state, so it was not sent."""
    field = _FIELDS.get(error.field, error.field)
    return bad_body(f"has a wrong value: {error.reason}", field or "body")


def rejection_status(code: RejectionCode) -> int:
    """The status of a rejection."""
    return _STATUS.get(code, _CONFLICT)


def rejection_kind(code: str) -> str:
    """The kind of the problem of a rejection."""
    return code.replace("_", "-")


def rejected_command(error: CommandRejected) -> Problem:
    """The sequencer has rejected the command, which had no effect."""
    code = error.code
    return Problem(
        status=rejection_status(code),
        kind=rejection_kind(code),
        title=f"Rejected: {code.replace('_', ' ')}",
        detail=_DETAIL[code],
        members={"client_msg_id": error.client_msg_id, "code": code},
    )


def delivery_unknown(error: DeliveryUnknown) -> Problem:
    """The command was sent, and the broker has not acknowledged it in time."""
    return Problem(
        status=504,
        kind="delivery-unknown",
        title="Delivery unknown",
        detail=(
            "The command may have an effect or not. Repeat the request with this client_msg_id: "
            "a repetition has no second effect."
        ),
        headers={"Retry-After": str(RETRY_SECONDS)},
        members={"client_msg_id": error.client_msg_id},
    )


def no_such_command() -> Problem:
    """This gateway does not remember the command, and the store has no outcome of it."""
    return Problem(
        status=404,
        kind="no-such-command",
        title="No such command",
        detail=(
            "This gateway does not know the command, and the store has no outcome of it yet. "
            "Repeat the request with its client_msg_id: the response is its outcome, and there is "
            "no second effect."
        ),
    )
