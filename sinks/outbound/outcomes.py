"""The outcome of one delivery to a server outside of the deployment."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from schemas.errors import TransientFailure


class Delivered(Struct, frozen=True):
    """The server acknowledged the delivery."""


class Gone(Struct, frozen=True):
    """The address does not exist any more: the caller removes the address."""


class DeliveryRefused(Struct, frozen=True):
    """The server, or the guard of addresses, refuses this delivery permanently.

    ``reason`` has no text of a message, no secret, and no part of a response.
    """

    reason: str


DeliveryOutcome: TypeAlias = Delivered | Gone | DeliveryRefused


class DeliveryFailed(TransientFailure):
    """The delivery failed temporarily, or its outcome is unknown. A later attempt may succeed.

    Args:
        reason: As `DeliveryRefused.reason`.
        retry_after: Minimum wait before the next attempt in seconds, as the server demanded.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
