"""The settings of notifications. The keys of the providers: `schemas.outbound_settings`."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, TypeAlias

from pydantic import Field

from schemas.environment import EnvironmentSettings

PushContent: TypeAlias = Literal["text", "sender", "nothing"]
"""What a notification has besides the conversation, the SeqId and the unread count: the sender and
the text of the message (``text``), the sender alone, or neither."""


class PushSettings(EnvironmentSettings):
    """The part of `schemas.settings.Settings` for notifications.

    Raises:
        pydantic.ValidationError: A value is out of its range.
    """

    push_notifications: bool = True
    """Whether the deployment has the stage ``sink-push``."""
    push_content: PushContent = "sender"
    """What a provider learns of a message."""
    push_window: timedelta = Field(
        default=timedelta(seconds=2), ge=timedelta(0), le=timedelta(hours=1)
    )
    """The messages of a conversation within this time cause one notification."""
    push_max_age: timedelta = Field(
        default=timedelta(days=1), ge=timedelta(seconds=1), le=timedelta(days=7)
    )
    """Age of a message at the last attempt to deliver its notification."""
