"""The last positions that the log has reached, for readers that begin to wait after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

MAX_RECENT: Final = 50_000
"""Number of recipients, and of conversations, after which a generation of remembered positions
ends. There are two generations, some 10 MB each."""

MAX_SINK_LAG_SECONDS: Final = 60.0
"""Maximum sink lag for which wake-ups alone are enough; beyond it readers poll."""


PlaceT = TypeVar("PlaceT", bound=int)
"""A place in a timeline: a SeqId or a sync SeqId."""


class RecentPlaces(Generic[PlaceT]):
    """The last position of each timeline, for one to two times `MAX_SINK_LAG_SECONDS`.

    The recipients of all new records are noted, so a note has to be cheap: two generations of
    notes have a time each, and a note has none. A `cachetools.TTLCache` takes 6 µs for a note.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._new: dict[str, PlaceT] = {}
        self._old: dict[str, PlaceT] = {}

    def note(self, places: Mapping[str, PlaceT]) -> None:
        """Remembers positions by the name of their timeline. They replace earlier ones."""
        now = self._clock()
        if now - self._since >= MAX_SINK_LAG_SECONDS or len(self._new) >= MAX_RECENT:
            self._old, self._new, self._since = self._new, {}, now
        self._new.update(places)

    def place(self, name: str) -> PlaceT | None:
        """The remembered position, or None if no recent record arrived."""
        age = self._clock() - self._since
        if age >= 2 * MAX_SINK_LAG_SECONDS:
            return None
        place = self._new.get(name)
        return self._old.get(name) if place is None and age < MAX_SINK_LAG_SECONDS else place
