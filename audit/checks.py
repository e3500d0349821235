"""Runs a check that notes each record it reads, and reports at its end what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

PartT_contra = TypeVar("PartT_contra", contravariant=True)
PartT = TypeVar("PartT")


class Check(Protocol[PartT_contra]):
    """Compares rows or records with the expected ones."""

    def take(self, part: PartT_contra, /) -> None:
        """Process a row, or some records."""

    def finish(self) -> None:
        """Report what did not arrive."""


def run_check(check: Check[PartT], parts: Iterable[PartT]) -> None:
    """Pass all parts to a check, then finish the check."""
    for part in parts:
        check.take(part)
    check.finish()
