"""The recipients of an entry, with a cache for values that a writer computes from them."""

from __future__ import annotations

from typing import Any


class Audience(tuple[str, ...]):  # noqa: SLOT001 - `cached_destinations` is in its dictionary
    """Recipients, in the order of their joining.

    A conversation uses one object until its members change, so a value is computed once after a
    change of the members and not for each message.

    Attributes:
        cached_destinations: The value that the writer of sync records has computed; None at
            first. The core does not use it.
    """

    cached_destinations: Any = None
