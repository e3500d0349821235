"""How a check is run that remembers what has come, to name at the end what has not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

PartT_contra = TypeVar("PartT_contra", contravariant=True)
PartT = TypeVar("PartT")


class Check(Protocol[PartT_contra]):
    """Compares what it is given with what is due."""

    def take(self, part: PartT_contra, /) -> None:
        """Takes a row, or some records."""

    def finish(self) -> None:
        """Names what has not come."""


def run_check(check: Check[PartT], parts: Iterable[PartT]) -> None:
    """Gives a check all that there is."""
    for part in parts:
        check.take(part)
    check.finish()
