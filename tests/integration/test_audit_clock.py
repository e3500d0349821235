"""The audit takes the expiry time of rows from Cassandra's clock, not from its own machine."""

from __future__ import annotations

import time

import pytest

from audit.real_sources import real_servers as audited
from backends.cassandra.session import cassandra_session
from ops.deployment.prepare_servers import prepare_all as prepare
from tests.support.servers import Servers

pytestmark = pytest.mark.servers

DAY: float = 24 * 3600.0


@pytest.mark.parametrize("wrong_by", [-10 * DAY, 10 * DAY], ids=["slow", "fast"])
def test_the_clock_of_the_audit_has_no_effect_on_expiry(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, wrong_by: float
) -> None:
    """With a clock that is ten days wrong, the audit expects the same rows as usual."""
    settings = servers.settings(partitions=1, sync_partitions=1)
    prepare(settings, lambda _: None)
    with cassandra_session(settings) as session:
        ((store_ms,),) = session.execute("SELECT toUnixTimestamp(now()) FROM system.local")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + wrong_by)

    with audited(settings, advance=lambda _check, _number: None, wait_seconds=0) as sources:
        found = sources.expired_before()

    lifetime_ms = settings.sync_lifetime.total_seconds() * 1000
    assert store_ms - lifetime_ms <= found <= store_ms - lifetime_ms + DAY * 1000
