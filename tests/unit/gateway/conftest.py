"""Fixtures that several tests of the gateway share."""

from __future__ import annotations

import pytest

from gateway.log.wake_ups import WakeUps


@pytest.fixture
async def woken() -> WakeUps:
    """Wake-ups of a connected log; the test sends them."""
    woken = WakeUps()
    woken.now_live(is_live=True)
    return woken
