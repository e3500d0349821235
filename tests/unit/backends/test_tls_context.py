"""The TLS of clients: files that cannot be used, and the credentials of Faust's client."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from faust.auth import SASLCredentials, SSLCredentials

from backends.access.tls_context import tls_context
from backends.kafka.clients import admin_client, common_config
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from stream_processors.faust_app.broker_credentials import broker_credentials
from tests.support.tls_files import TlsFiles

PASSWORD = "s3cret-of-a-key"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """The certificates of the module."""
    return TlsFiles(tmp_path_factory.mktemp("tls"))


def with_client_certificate(tls: TlsFiles, **more: object) -> dict[str, Any]:
    """Settings with TLS in both directions."""
    certificate, key = tls.identity("worker", PASSWORD)
    return {
        "kafka_security_protocol": "SSL",
        "kafka_ca_file": tls.ca,
        "kafka_certificate_file": certificate,
        "kafka_key_file": key,
        "kafka_key_password": PASSWORD,
        **more,
    }


def test_a_context_checks_the_server_and_has_the_client_certificate(tls: TlsFiles) -> None:
    """The context trusts the CA of the settings alone, checks names, and opens the key."""
    context = tls_context(Settings.model_validate(with_client_certificate(tls)), "kafka")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1


def test_confluent_takes_the_files(tls: TlsFiles) -> None:
    """The client library accepts the settings: it opens the files when the client is made."""
    settings = Settings.model_validate(with_client_certificate(tls))
    assert isinstance(admin_client(settings), AdminClient)
    assert common_config(settings)["ssl.key.password"] == PASSWORD


@pytest.mark.parametrize(
    ("field", "name", "why"),
    [
        ("kafka_ca_file", "text", "IM_KAFKA_CA_FILE: .* has no certificates in PEM"),
        ("kafka_certificate_file", "text", "IM_KAFKA_CERTIFICATE_FILE: .* are not a certificate"),
        ("kafka_key_file", "text", "IM_KAFKA_CERTIFICATE_FILE: .* are not a certificate and its"),
        ("kafka_key_password", "", "or IM_KAFKA_KEY_PASSWORD is wrong"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    field: str, name: str, why: str, tls: TlsFiles, tmp_path: Path
) -> None:
    """A file without a certificate or a key, and a wrong password, are one line each."""
    path = tmp_path / "text"
    path.write_text("no certificate")
    value = path if name else "wrong"
    settings = Settings.model_validate(with_client_certificate(tls, **{field: value}))
    with pytest.raises(ConfigurationError, match=why) as refused:
        admin_client(settings)
    assert "\n" not in str(refused.value)
    assert PASSWORD not in str(refused.value)


def test_faust_gets_the_same_security(tls: TlsFiles) -> None:
    """Each protocol has its form of credentials; none is sent to brokers without security."""
    user = {"kafka_user": "im-workers", "kafka_password": PASSWORD, "kafka_ca_file": tls.ca}
    assert broker_credentials(Settings()) is None
    over_tls = broker_credentials(Settings.model_validate(with_client_certificate(tls)))
    assert isinstance(over_tls, SSLCredentials)
    assert over_tls.context.check_hostname
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        sasl = {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": mechanism} | user
        made = broker_credentials(Settings.model_validate(sasl))
        assert isinstance(made, SASLCredentials)
        assert (made.username, made.password) == ("im-workers", PASSWORD)
        assert made.mechanism.value == mechanism
        assert made.protocol.value == "SASL_SSL"
        assert made.ssl_context is not None
        assert PASSWORD not in repr(made)
    plain = {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_user": "u", "kafka_password": "p"}
    made = broker_credentials(Settings.model_validate(plain))
    assert isinstance(made, SASLCredentials)
    assert made.protocol.value == "SASL_PLAINTEXT"
