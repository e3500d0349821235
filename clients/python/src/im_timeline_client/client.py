"""The client of one person: `connect` is the entry."""

from __future__ import annotations

import aiohttp

from im_timeline_client.devices import Devices
from im_timeline_client.reads import Reads
from im_timeline_client.session import OUTCOME_SECONDS
from im_timeline_client.transport import Token
from im_timeline_client.writes import Writes


class Client(Reads, Writes, Devices):
    """One person at the gateway. Use it inside of ``async with``. Made by `connect`.

    Every method raises `GatewayUnavailable` if the gateway does not answer after some attempts,
    and `RequestRefused` if the gateway refuses the request.

    A method that changes a conversation is a command: it waits for its outcome, and has one effect
    however often it is sent. It also raises `CommandRejected` and `OutcomeUnknown`. A command
    accepts an own ``client_msg_id``: a UUIDv7 in lower case, above the earlier ones of the
    conversation and the device. The same id from the same person and device has the same outcome,
    also in another process.
    """


def connect(
    address: str,
    token: Token,
    *,
    device_id: str | None = None,
    outcome_seconds: float = OUTCOME_SECONDS,
    http: aiohttp.ClientSession | None = None,
) -> Client:
    """Return a client for ``async with``.

    Args:
        address: The gateway, such as ``https://chat.example``.
        token: A bearer token, or a function that returns one, also by a coroutine. The function is
            called for each request, because tokens expire: let it return a stored token while the
            token is fresh.
        device_id: The device that the person's commands name; by default that of the token.
        outcome_seconds: How long a command waits for its outcome.
        http: A session of the application, which the client does not close.
    """
    return Client(address, token, device_id=device_id, outcome_seconds=outcome_seconds, http=http)
