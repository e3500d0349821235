"""Settings of secured servers: TLS and credentials. `docs/secured-servers.md` describes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from schemas.environment import EnvironmentSettings, variable

SecurityProtocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
CassandraConsistency: TypeAlias = Literal["LOCAL_QUORUM", "QUORUM"]

SERVER_SECRETS: Final = (
    "kafka_password",
    "kafka_key_password",
    "cassandra_password",
    "cassandra_key_password",
    "elasticsearch_api_key",
    "elasticsearch_password",
)
"""The fields that hold a secret. The field of each with ``_file`` names a file with the secret."""


def _empty_is_unset(value: object) -> object:
    """Compose files pass a variable that is not set as an empty text."""
    return None if value == "" else value


def _readable(path: Path | None) -> Path | None:
    """The absolute path: processes with other working directories get the same file."""
    if path is None:
        return None
    try:
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    return path.absolute()


_File: TypeAlias = Annotated[
    Path | None, BeforeValidator(_empty_is_unset), AfterValidator(_readable)
]
_Secret: TypeAlias = Annotated[SecretStr, Field(validate_default=True)]
_NO_SECRET: Final = SecretStr("")


class SecuritySettings(EnvironmentSettings):
    """The part of `schemas.settings.Settings` for connections to secured servers.

    The field of a secret has the secret in both cases: from its own variable, or from the file
    that the variable with ``_FILE`` names.

    Raises:
        pydantic.ValidationError: A file cannot be read, a secret is given twice, or settings do
            not fit together.
    """

    # The file of a secret is declared before the secret, because fields are read in this order.
    kafka_security_protocol: SecurityProtocol = "PLAINTEXT"
    """Brokers with ``SSL`` and ``SASL_SSL`` encrypt; those with ``SASL_…`` require a user."""
    kafka_sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    kafka_user: str = ""
    kafka_password_file: _File = None
    kafka_password: _Secret = _NO_SECRET
    kafka_ca_file: _File = None
    """PEM certificates that sign those of the brokers; by default those of the system."""
    kafka_certificate_file: _File = None
    """PEM certificate of this client, with the certificates between it and the CA."""
    kafka_key_file: _File = None
    """PEM private key of the client's certificate."""
    kafka_key_password_file: _File = None
    kafka_key_password: _Secret = _NO_SECRET

    cassandra_user: str = ""
    cassandra_password_file: _File = None
    cassandra_password: _Secret = _NO_SECRET
    cassandra_tls: bool = False
    cassandra_ca_file: _File = None
    cassandra_certificate_file: _File = None
    cassandra_key_file: _File = None
    cassandra_key_password_file: _File = None
    cassandra_key_password: _Secret = _NO_SECRET
    cassandra_consistency: CassandraConsistency = "LOCAL_QUORUM"
    """The replicas that confirm each read and write: most of those in the local data centre, or
    most of all."""

    elasticsearch_api_key_file: _File = None
    elasticsearch_api_key: _Secret = _NO_SECRET
    """The API key in base64: ``encoded`` in the response that created the key."""
    elasticsearch_user: str = ""
    elasticsearch_password_file: _File = None
    elasticsearch_password: _Secret = _NO_SECRET
    elasticsearch_ca_file: _File = None

    @field_validator(*SERVER_SECRETS)
    @classmethod
    def _secret_of_file(cls, secret: SecretStr, info: ValidationInfo) -> SecretStr:
        path: Path | None = info.data.get(f"{info.field_name}_file")
        if path is None:
            return secret
        name = f"{variable(info.field_name or '')}_FILE"
        if secret.get_secret_value():
            raise ValueError(f"this variable and {name} are both set: remove one of them")
        try:
            text = path.read_text().strip("\r\n")
        except UnicodeDecodeError:
            raise ValueError(f"{name} is not UTF-8") from None
        if not text:
            raise ValueError(f"{name} is empty")
        return SecretStr(text)

    @model_validator(mode="after")
    def _settings_fit_together(self) -> SecuritySettings:
        if faults := [*self._kafka_faults(), *self._cassandra_faults(), *self._search_faults()]:
            raise ValueError("; ".join(faults))
        return self

    def _kafka_faults(self) -> Iterator[str]:
        protocol = self.kafka_security_protocol
        said = f"IM_KAFKA_SECURITY_PROTOCOL is {protocol}"
        credentials = self._set("kafka_user", "kafka_password")
        if "SASL" in protocol:
            yield from self._missing(said, "kafka_user", "kafka_password")
        elif credentials:
            yield f"{said}, which has no user: remove {_and(credentials)}, or set SASL_SSL"
        files = self._tls_files("kafka")
        if "SSL" not in protocol.removeprefix("SASL_") and files:
            yield f"{said}, which has no TLS: remove {_and(files)}, or set SSL or SASL_SSL"
        yield from self._key_faults("kafka")

    def _cassandra_faults(self) -> Iterator[str]:
        yield from self._half("cassandra_user", "cassandra_password")
        files = self._tls_files("cassandra")
        if files and not self.cassandra_tls:
            yield f"IM_CASSANDRA_TLS is false: remove {_and(files)}, or set it to true"
        yield from self._key_faults("cassandra")

    def _search_faults(self) -> Iterator[str]:
        yield from self._half("elasticsearch_user", "elasticsearch_password")
        if len(both := self._set("elasticsearch_api_key", "elasticsearch_user")) > 1:
            yield f"{_and(both)} are both set: remove one of them"

    def _tls_files(self, server: str) -> list[str]:
        return self._set(*(f"{server}_{name}_file" for name in ("ca", "certificate", "key")))

    def _key_faults(self, server: str) -> Iterator[str]:
        yield from self._half(f"{server}_certificate_file", f"{server}_key_file")
        if given := self._set(f"{server}_key_password"):
            yield from self._missing(f"{_and(given)} is set", f"{server}_key_file")

    def _half(self, *fields: str) -> Iterator[str]:
        """A fault if some of the fields are set, and some are not."""
        if given := self._set(*fields):
            yield from self._missing(f"{_and(given)} is set", *fields)

    def _missing(self, said: str, *fields: str) -> Iterator[str]:
        given = self._set(*fields)
        if missing := [name for name in map(variable, fields) if name not in given]:
            yield f"{said}: set {_and(missing)} as well"

    def _set(self, *fields: str) -> list[str]:
        """The variables of those fields that have a value."""
        return [variable(field) for field in fields if _has_value(getattr(self, field))]


def _has_value(value: str | SecretStr | Path | None) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)
