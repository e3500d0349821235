"""The deployment that all end-to-end tests share, and browsers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Final

import pytest
from playwright.sync_api import Browser, expect
from pydantic import SecretStr

from devstack.ports import free_ports
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.chromium import PATIENCE_MS, chromium
from tests.support.gateway import SECRET
from tests.support.pipeline import assigned_members, prepare, sinks
from tests.support.processes import running, wait_until
from tests.support.readiness import is_ready
from tests.support.talk import Talk
from tests.support.vapid import vapid_pem

WINDOW: Final = 20
OPERATOR: Final = "operator"


@pytest.fixture(scope="package")
def deployment(shared_servers: Servers) -> Iterator[tuple[Settings, Settings]]:
    """A running pipeline with low limits, and a second gateway with the policy ``window``."""
    first, second, page = free_ports(3)
    settings = shared_servers.settings(
        partitions=2, sync_partitions=2, push_limit=4, push_again_below=4,
        write_wait="PT8S",  # on a busy machine, few commands are answered with 202
        # The tests write faster than people do.
        http_commands_per_second=1_000,
        http_conversation_commands_per_second=1_000,
        jwt_secret=SecretStr(SECRET), gateway_port=first, operators=OPERATOR,
        push_vapid_key=SecretStr(vapid_pem()), push_vapid_contact="mailto:ops@chat.example",
        cors_origins=f"http://127.0.0.1:{page}",
    )  # fmt: skip
    prepare(settings)
    own = {"new_device": "window", "new_device_window": WINDOW, "gateway_port": second}
    other = settings.model_copy(update=own)
    with ExitStack() as stack:
        stack.enter_context(running(settings, "stream_processors"))
        stack.enter_context(sinks(settings))
        for each in (settings, other):
            stack.enter_context(running(each, "gateway"))
        for each in (settings, other):
            wait_until(partial(is_ready, each), "the gateway is ready")
        wait_until(lambda: assigned_members(settings, "sequencer") > 0, "there is a sequencer")
        yield settings, other


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a file."""
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as running_browser:
        yield running_browser


@pytest.fixture
def talk(deployment: tuple[Settings, Settings], browser: Browser) -> Iterator[Talk]:
    """People, and no complaint in the consoles of their windows at the end."""
    made = Talk(deployment[0], browser)
    yield made
    made.close()
    assert made.complaints == []
