"""Servers that a test may stop and kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devstack.ports import free_ports
from devstack.stack import Stack
from tests.support.containers import docker_answers
from tests.support.nodetool import JMX_OPTION
from tests.support.servers import given_servers, running_stack


@contextmanager
def stack_of_its_own(*names: str) -> Iterator[Stack]:
    """The named servers, or all, in a separate folder; skips the test where there is Docker.

    Cassandra has a port for `tests.support.nodetool` on the loopback interface.
    """
    if docker_answers() and not given_servers():
        pytest.skip("the development stack is for where there is no Docker")
    (port,) = free_ports(1)
    with running_stack(names, f"{JMX_OPTION}={port}") as stack:
        yield stack
