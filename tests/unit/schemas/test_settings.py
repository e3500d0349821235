"""Settings from the environment, and the errors for wrong ones."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from devstack.settings import DevstackSettings
from schemas.environment import EnvironmentSettings, explain
from schemas.errors import ConfigurationError
from schemas.settings import DEVELOPMENT_STACK, Settings, load_settings
from schemas.topics import Topic


def test_the_lower_limit_follows_the_upper() -> None:
    """``push_again_below`` follows ``push_limit`` if it is not set."""
    assert Settings().limits.push_again_below == 400
    assert Settings(push_limit=100).limits.push_again_below == 80
    assert Settings(push_limit=1).limits.push_again_below == 1


def test_a_lower_limit_above_the_upper_is_refused() -> None:
    """A lower limit above the upper one would switch at every join and leave, so it is refused."""
    with pytest.raises(ValidationError, match="IM_PUSH_AGAIN_BELOW must not be above"):
        Settings(push_limit=10, push_again_below=11)


@pytest.mark.parametrize("text", ["90", "PT90S", "00:01:30"])
def test_a_lifetime_can_be_given_in_seconds(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A duration in the environment is a number of seconds, ISO 8601 or a time."""
    monkeypatch.setenv("IM_SYNC_LIFETIME", text)
    assert Settings().sync_lifetime == timedelta(seconds=90)


def test_everything_is_named_by_the_namespace() -> None:
    """Topics, groups, keyspace and index have the namespace, so deployments can share servers."""
    settings = Settings(namespace="t-1")
    assert settings.topic(Topic.SYNC) == "t-1.sync"
    assert settings.group("sink-sync") == "t-1.sink-sync"
    assert settings.keyspace == "t_1"
    assert settings.index_alias == "t-1-message"


def test_all_cassandra_hosts_have_one_port() -> None:
    """The driver has one port for all hosts, so different ports are refused."""
    settings = Settings(cassandra_hosts="a:9043, b:9043")
    assert settings.cassandra_contact_points == (["a", "b"], 9043)
    with pytest.raises(ValidationError, match="the same port"):
        Settings(cassandra_hosts="a:1,b:2")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("cassandra_hosts", "a:1,b:2", "IM_CASSANDRA_HOSTS: must name the same port"),
        ("cors_origins", "*", "IM_CORS_ORIGINS: must be origins"),
        ("cors_origins", "https://a.example,null", "IM_CORS_ORIGINS: must be origins"),
        ("cors_origins", "https://a.example/", "IM_CORS_ORIGINS: must be origins"),
        ("cassandra_hosts", " , ", "IM_CASSANDRA_HOSTS: names no host"),
        ("cassandra_hosts", "a:port", "IM_CASSANDRA_HOSTS: must be host:port"),
        ("cassandra_hosts", "cql://a", "IM_CASSANDRA_HOSTS: must be host:port"),
        ("kafka_bootstrap", "a", "IM_KAFKA_BOOTSTRAP: must be host:port"),
        ("kafka_bootstrap", "a:70000", "IM_KAFKA_BOOTSTRAP: must be host:port"),
        ("kafka_bootstrap", "", "IM_KAFKA_BOOTSTRAP: names no host"),
        ("elasticsearch_url", "localhost:9200", "IM_ELASTICSEARCH_URL: must be a URL"),
        ("elasticsearch_url", "http://", "IM_ELASTICSEARCH_URL: names no host"),
        ("elasticsearch_url", "http://a:x", "IM_ELASTICSEARCH_URL: must be host:port"),
        ("elasticsearch_url", "http://u:p@a", "IM_ELASTICSEARCH_URL: must not have a user"),
        ("sync_lifetime", "soon", "IM_SYNC_LIFETIME: "),
    ],
)
def test_an_address_that_cannot_work_is_refused(
    name: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong address is an error of one line when the settings are read."""
    monkeypatch.setenv(f"IM_{name.upper()}", value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert str(refused.value).startswith(why)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://a", "https://a:9200", "http://[::1]:9200/"])
def test_each_form_of_a_url_is_accepted(url: str) -> None:
    """A URL with or without port and path is accepted."""
    assert Settings(elasticsearch_url=url).elasticsearch_url == url


@pytest.mark.parametrize("settings", [Settings, DevstackSettings])
def test_an_unknown_variable_is_refused(
    settings: type[EnvironmentSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown variable would have no effect, so it is an error that proposes a name."""
    monkeypatch.setenv("IM_GATEWAY_PROT", "9000")
    with pytest.raises(ValidationError, match="did you mean IM_GATEWAY_PORT") as refused:
        settings()
    assert explain(refused.value, settings) == (
        "IM_GATEWAY_PROT is not a setting; did you mean IM_GATEWAY_PORT?"
    )


def test_an_unknown_keyword_is_refused() -> None:
    """An unknown keyword, which would have no effect, is an error, too."""
    with pytest.raises(ConfigurationError, match="did you mean kafka_bootstrap"):
        load_settings({"kafka_boostrap": "a:1"})


def test_each_process_knows_the_variables_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline and the development stack accept each other's variables."""
    assert frozenset(DevstackSettings.model_fields) - set(Settings.model_fields) == (
        DEVELOPMENT_STACK
    )
    monkeypatch.setenv("IM_KAFKA_PORT", "19092")
    monkeypatch.setenv("IM_PUSH_LIMIT", "10")
    monkeypatch.setenv("IM_STACK", "here")
    assert Settings().push_limit == 10
    assert DevstackSettings().kafka_port == 19092


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kafka_bootstrap", "a b:9092"),
        ("kafka_bootstrap", "a:9092#b"),
        ("cassandra_hosts", "a b"),
        ("elasticsearch_url", "http://a b:9200"),
        ("elasticsearch_url", "http://a:9200?b=1"),
    ],
)
def test_an_address_that_cannot_work_is_refused_at_the_start(field: str, value: str) -> None:
    """White space in an address, and a fragment or a query in it, are refused."""
    with pytest.raises(ConfigurationError, match=f"IM_{field.upper()}: must be"):
        load_settings({field: value})
