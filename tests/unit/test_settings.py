"""Settings come from the environment, and say what is wrong with them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from schemas.settings import Settings
from schemas.topics import Topic


def test_the_lower_limit_follows_the_upper() -> None:
    """One setting is enough to move both, and they stay apart."""
    assert Settings().limits.push_again_below == 400
    assert Settings(push_limit=100).limits.push_again_below == 80
    assert Settings(push_limit=1).limits.push_again_below == 1


def test_limits_the_wrong_way_round_are_refused() -> None:
    """A conversation must not switch with each person who comes and goes."""
    with pytest.raises(ValidationError, match="push_again_below"):
        Settings(push_limit=10, push_again_below=11)


@pytest.mark.parametrize("text", ["90", "PT90S", "00:01:30"])
def test_a_lifetime_can_be_seconds(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain seconds and ISO 8601 are both understood in the environment."""
    monkeypatch.setenv("IM_SYNC_LIFETIME", text)
    assert Settings().sync_lifetime == timedelta(seconds=90)


def test_everything_is_named_by_the_namespace() -> None:
    """Deployments share servers by it, so each name has it."""
    settings = Settings(namespace="t-1")
    assert settings.topic(Topic.SYNC) == "t-1.sync"
    assert settings.group("sink-sync") == "t-1.sink-sync"
    assert settings.keyspace == "t_1"
    assert settings.index_alias == "t-1-message"


def test_one_port_for_all_cassandra_hosts() -> None:
    """The driver takes one port; two would be silently wrong."""
    settings = Settings(cassandra_hosts="a:9043, b:9043")
    assert settings.cassandra_contact_points == (["a", "b"], 9043)
    with pytest.raises(ValueError, match="one port"):
        _ = Settings(cassandra_hosts="a:1,b:2").cassandra_contact_points
