"""`im topics create`."""

from __future__ import annotations

from typing import Annotated

import typer

from backends.sync_layout.recipient_topics import make_recipients
from ops.console import Json, emit, out
from ops.deployment.prepare_log import prepare_log
from ops.deployment.running import live_settings

_Recipients = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient", help="Create the topic of this recipient in advance; may be repeated."
    ),
]


def create_missing_topics(recipient: _Recipients = None, *, json: Json = False) -> None:
    """Create the topics that are missing."""
    settings = live_settings()
    created = prepare_log(settings) + make_recipients(settings, recipient or [])
    for name in created:
        emit({"created": name}) if json else out.print(f"created {name}", markup=False)
    if not created and not json:
        out.print("all topics exist")
