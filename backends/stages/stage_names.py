"""The names of the stages, and the source topic of each."""

from __future__ import annotations

from typing import Final

from schemas.settings import Settings
from schemas.topics import Topic

SEQUENCER: Final = "sequencer"
SINKS: Final = ("sink-message", "sink-sync", "sink-search")
"""The sinks that store records."""

PUSH_STAGE: Final = "sink-push"
"""The sink that delivers notifications; a deployment may be without it."""

SOURCES: Final[dict[str, Topic]] = {
    SEQUENCER: Topic.MESSAGES,
    "sink-message": Topic.TIMELINE,
    "sink-sync": Topic.SYNC,
    "sink-search": Topic.TIMELINE,
    PUSH_STAGE: Topic.SYNC,
}
"""The topic that each stage reads. A stage is a consumer group, see `Settings.group`."""


def sources_of(settings: Settings) -> dict[str, Topic]:
    """The stages of a deployment, each with the topic that it reads."""
    has_push = settings.push_notifications
    return {stage: topic for stage, topic in SOURCES.items() if stage != PUSH_STAGE or has_push}
