"""The paths of routes as patterns of aiohttp."""

from __future__ import annotations

import re
from typing import Final

_PLACE: Final = re.compile(r"\{(\w+)\}")


def route_pattern(path: str) -> str:
    """The pattern of a path whose places take any id.

    By default, a place of aiohttp takes no braces, which an id may have.
    """
    return _PLACE.sub(r"{\1:[^/]+}", path)
