"""Fixtures: the local store of a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consumers.device.local_store import LocalStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the local store's file."""
    return tmp_path / "phone" / "local.db"


@pytest.fixture
def store(path: Path) -> Iterator[LocalStore]:
    """An empty local store."""
    with closing(LocalStore(path, "ann", "phone")) as store:
        yield store
