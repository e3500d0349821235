"""Servers that a test may stop and kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devstack.stack import Stack
from tests.support.containers import docker_answers
from tests.support.servers import given_servers, running_stack


@contextmanager
def stack_of_its_own(*names: str) -> Iterator[Stack]:
    """The named servers, or all, in a separate folder; skips the test where there is Docker."""
    if docker_answers() and not given_servers():
        pytest.skip("the development stack is for where there is no Docker")
    with running_stack(names) as stack:
        yield stack
