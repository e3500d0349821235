"""The recipients of an entry, with a place for what a writer computes from them once."""

from __future__ import annotations

from typing import Any


class Audience(tuple[str, ...]):  # noqa: SLOT001 - `addressed` is in its dictionary
    """Recipients, in the order of their joining.

    A conversation keeps one object until its members change, so what is computed from it is
    computed when the members change and not for each message.

    Attributes:
        addressed: Whatever the writer of sync records has computed from it; None at first. The
            core does not look at it.
    """

    addressed: Any = None
