"""Settings of secured servers: secrets from files, combinations that cannot work, no leaks."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from ops.deployment.running import as_environment
from schemas.environment import secret_fields, variable
from schemas.errors import ConfigurationError
from schemas.security_settings import SERVER_SECRETS
from schemas.settings import Settings, load_settings

SECRET = "s3cret-of-the-test"
SASL = {"kafka_security_protocol": "SASL_SSL", "kafka_user": "im-workers"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A file with a secret, a file with a certificate, and a path without a file."""
    secret, certificate = tmp_path / "secret", tmp_path / "certificate.pem"
    secret.write_text(f"{SECRET}\n")
    certificate.write_text("-----BEGIN CERTIFICATE-----")
    return {"secret": str(secret), "pem": str(certificate), "none": str(tmp_path / "none")}


def with_every_secret(**more: object) -> dict[str, object]:
    """Settings that need all secrets but the API key, which excludes a user of Elasticsearch."""
    return {
        **SASL,
        "kafka_password": SECRET,
        "cassandra_user": "im-sinks",
        "cassandra_password": SECRET,
        "elasticsearch_user": "im-sinks",
        "elasticsearch_password": SECRET,
        **more,
    }


@pytest.mark.parametrize("field", SERVER_SECRETS)
def test_each_secret_can_be_in_a_file(
    field: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable with _FILE gives the same settings as the variable with the secret."""
    server, _, _ = field.partition("_")
    needed: dict[str, object] = {
        "kafka_password": SASL,
        "kafka_key_password": {
            "kafka_security_protocol": "SSL",
            "kafka_certificate_file": files["pem"],
            "kafka_key_file": files["pem"],
        },
        "cassandra_password": {"cassandra_user": "im"},
        "cassandra_key_password": {
            "cassandra_tls": True,
            "cassandra_certificate_file": files["pem"],
            "cassandra_key_file": files["pem"],
        },
        "elasticsearch_api_key": {},
        "elasticsearch_password": {"elasticsearch_user": "im"},
    }[field]  # type: ignore[assignment] # a mapping for each field
    monkeypatch.setenv(f"{variable(field)}_FILE", files["secret"])
    settings = Settings.model_validate(needed)
    assert getattr(settings, field).get_secret_value() == SECRET
    assert server in field


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (
            {"kafka_password": SECRET, "kafka_password_file": "secret"},
            "IM_KAFKA_PASSWORD: this variable and IM_KAFKA_PASSWORD_FILE are both set",
        ),
        ({"kafka_password_file": "none"}, "IM_KAFKA_PASSWORD_FILE: {none} cannot be read (No"),
        ({"cassandra_ca_file": "none"}, "IM_CASSANDRA_CA_FILE: {none} cannot be read (No"),
        ({"kafka_password": SECRET}, "IM_KAFKA_SECURITY_PROTOCOL is PLAINTEXT, which has no user"),
        ({"kafka_ca_file": "pem"}, "IM_KAFKA_SECURITY_PROTOCOL is PLAINTEXT, which has no TLS"),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_user": "u",
             "kafka_password": SECRET, "kafka_ca_file": "pem"},
            "IM_KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT, which has no TLS",
        ),
        (SASL, "IM_KAFKA_SECURITY_PROTOCOL is SASL_SSL: set IM_KAFKA_PASSWORD as well"),
        (
            {"kafka_security_protocol": "SSL", "kafka_certificate_file": "pem"},
            "IM_KAFKA_CERTIFICATE_FILE is set: set IM_KAFKA_KEY_FILE as well",
        ),
        (
            {"kafka_security_protocol": "SSL", "kafka_key_password": SECRET},
            "IM_KAFKA_KEY_PASSWORD is set: set IM_KAFKA_KEY_FILE as well",
        ),
        ({"kafka_sasl_mechanism": "GSSAPI"}, "IM_KAFKA_SASL_MECHANISM: "),
        ({"cassandra_password": SECRET}, "IM_CASSANDRA_PASSWORD is set: set IM_CASSANDRA_USER"),
        ({"cassandra_ca_file": "pem"}, "IM_CASSANDRA_TLS is false: remove IM_CASSANDRA_CA_FILE"),
        ({"cassandra_consistency": "ONE"}, "IM_CASSANDRA_CONSISTENCY: "),
        ({"elasticsearch_user": "u"}, "IM_ELASTICSEARCH_USER is set: set IM_ELASTICSEARCH_PASSW"),
        (
            {"elasticsearch_user": "u", "elasticsearch_password": SECRET,
             "elasticsearch_api_key": SECRET},
            "IM_ELASTICSEARCH_API_KEY and IM_ELASTICSEARCH_USER are both set",
        ),
        ({"elasticsearch_ca_file": "pem"}, "IM_ELASTICSEARCH_CA_FILE is set: begin IM_ELASTICSE"),
        ({"elasticsearch_url": f"https://u:{SECRET}@a"}, "IM_ELASTICSEARCH_URL: must not have"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_servers_that_do_not_fit_are_refused(
    wrong: dict[str, object], why: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong value or combination is one line that names the variable, without the secret."""
    for name, value in wrong.items():
        monkeypatch.setenv(variable(name), files.get(str(value), str(value)))
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert str(refused.value).startswith(why.format_map(files))
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_an_empty_file_of_a_secret_is_refused(tmp_path: Path) -> None:
    """A file without a secret, such as one that a deployment tool has not written yet."""
    path = tmp_path / "empty"
    path.write_text("\n")
    with pytest.raises(ConfigurationError, match="IM_CASSANDRA_PASSWORD_FILE is empty"):
        load_settings({"cassandra_user": "u", "cassandra_password_file": path})


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools that always set a variable set it to an empty text."""
    for name in SERVER_SECRETS:
        monkeypatch.setenv(variable(name), "")
        monkeypatch.setenv(f"{variable(name)}_FILE", "")
    assert load_settings().kafka_security_protocol == "PLAINTEXT"


def test_secrets_are_in_no_text(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings do not show a secret when they are printed, logged, recorded or refused."""
    settings = Settings.model_validate(with_every_secret())
    logging.getLogger("test").warning("%s %r", settings, settings)
    shown = [repr(settings), str(settings), settings.model_dump_json(), caplog.text]
    shown += [str(settings.model_dump()), str(as_environment(settings))]
    wrong = with_every_secret(elasticsearch_api_key=SECRET, push_limit=1, push_again_below=2)
    for name, value in wrong.items():
        monkeypatch.setenv(variable(name), str(value))
    for read in (Settings, load_settings):
        with pytest.raises((ValidationError, ConfigurationError)) as refused:
            read()
        shown += [str(refused.value), repr(refused.value)]
    assert not [text for text in shown if SECRET in text]


def test_all_fields_of_secrets_are_secret() -> None:
    """Each password and key in the settings hides its value, and is left out of records."""
    hidden = secret_fields(Settings)
    assert hidden >= {*SERVER_SECRETS, "jwt_secret"}
    named = {name for name in Settings.model_fields if "password" in name or "api_key" in name}
    assert {name for name in named if not name.endswith("_file")} <= hidden
    recorded = as_environment(Settings.model_validate(with_every_secret()))
    assert not {variable(name) for name in hidden} & recorded.keys()
