"""`im webhook add` refuses subscriptions that cannot work, before it writes anything."""

from __future__ import annotations

from typing import Any

import pytest

from ops.commands import webhook
from schemas.errors import ConfigurationError
from schemas.settings import load_settings


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://10.0.0.1/", {}), ("http://127.1/", {}), ("ftp://127.0.0.1/", {}), ("", {}),
        ("https://user@hooks.example/", {}),
        ("http://127.0.0.1/", {"event": ["other"]}),
        ("http://127.0.0.1/", {"conversation": [""]}),
        ("http://127.0.0.1/", {"conversation": ["a\n"]}),
        ("http://127.0.0.1/", {"conversation": ["a"] * 101}),
    ],
)  # fmt: skip
def test_a_webhook_that_cannot_work_is_refused(
    url: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hostile URLs, unknown events, and empty or unprintable ids are errors."""
    values = {"outbound_allow": "127.0.0.0/8", "outbound_ports": "any", "outbound_http": True}
    monkeypatch.setattr(webhook, "live_settings", lambda: load_settings(values))
    monkeypatch.setattr(webhook, "prepare_log", lambda _: pytest.fail("it was accepted"))

    with pytest.raises(ConfigurationError):
        webhook.add_webhook(url, **options)
