"""What tests may ask for that stop and kill servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.stack import Stack
from tests.support.stoppable import stack_of_its_own


@pytest.fixture(scope="session")
def started_stack() -> Iterator[Stack]:
    """All servers once more, for these tests alone."""
    with stack_of_its_own() as started:
        yield started


@pytest.fixture
def stack(started_stack: Stack) -> Stack:
    """Servers that may be stopped and killed. All run, however the test before this one ended."""
    for name in started_stack.servers:
        started_stack.start(name)
    for name in started_stack.servers:
        started_stack.await_ready(name)
    return started_stack
