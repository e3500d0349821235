"""The names of the stages, and the source topic of each."""

from __future__ import annotations

from typing import Final

from schemas.topics import Topic

SEQUENCER: Final = "sequencer"
SINKS: Final = ("sink-message", "sink-sync", "sink-search")

SOURCES: Final[dict[str, Topic]] = {
    SEQUENCER: Topic.MESSAGES,
    "sink-message": Topic.TIMELINE,
    "sink-sync": Topic.SYNC,
    "sink-search": Topic.TIMELINE,
}
"""The topic that each stage reads. A stage is a consumer group, see `Settings.group`."""
