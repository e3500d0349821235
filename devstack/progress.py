"""Progress of a long operation, shown to a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

ReportStep: TypeAlias = Callable[[str], None]
"""Receives one line for each step of the operation."""
