"""Fixtures for tests that stop and kill servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.stack import Stack
from tests.support.stoppable import stack_of_its_own


@pytest.fixture(scope="package")
def started_stack() -> Iterator[Stack]:
    """A second set of all servers, for these tests only: see `tests.support.scheduling`."""
    with stack_of_its_own() as started:
        yield started


@pytest.fixture
def stack(started_stack: Stack) -> Stack:
    """Servers that a test may stop and kill. All run at the start of each test."""
    for name in started_stack.servers:
        started_stack.start(name)
    for name in started_stack.servers:
        started_stack.await_ready(name, seconds=300)
    return started_stack
