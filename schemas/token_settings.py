"""The settings of bearer tokens: the algorithm, the keys and the checks of claims."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from schemas.environment import EnvironmentSettings

TokenAlgorithm: TypeAlias = Literal["HS256", "RS256", "ES256", "EdDSA"]
"""HS256 has one secret for signing and checking; the others have a public key for checking."""

_YEAR_SECONDS: Final = 365 * 24 * 3600


def _empty_is_unset(value: object) -> object:
    """Compose files pass a variable that is not set as an empty text."""
    return None if value == "" else value


def _absolute(path: Path | None) -> Path | None:
    """Processes with other working directories get the same file."""
    return None if path is None else path.absolute()


def _key_url(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ValueError("must be a URL that begins with https://, without a user")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError(
            "must begin with https://, because without TLS anybody on the way can change the keys."
            " http:// is for addresses of this machine alone, such as 127.0.0.1"
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_File: TypeAlias = Annotated[
    Path | None, BeforeValidator(_empty_is_unset), AfterValidator(_absolute)
]


class TokenSettings(EnvironmentSettings):
    """The part of `schemas.settings.Settings` for bearer tokens.

    Raises:
        pydantic.ValidationError: A value is out of its range, or the keys do not fit the
            algorithm.
    """

    jwt_algorithm: TokenAlgorithm = "HS256"
    """The algorithm of all tokens. A token that names another algorithm is refused."""
    jwt_secret: SecretStr = SecretStr("")
    """HS256: the key that signs and checks tokens, at least 32 bytes. `im up` makes one."""
    jwt_secret_file: _File = None
    """A file that holds the secret, instead of `jwt_secret`."""
    jwt_key_file: _File = None
    """RS256, ES256, EdDSA: a PEM file with the one public key."""
    jwt_jwks_file: _File = None
    """RS256, ES256, EdDSA: a file with a set of public keys (JWKS, RFC 7517), read at start."""
    jwt_jwks_url: Annotated[
        str | None, BeforeValidator(_empty_is_unset), AfterValidator(_key_url)
    ] = None
    """RS256, ES256, EdDSA: the address of such a set. The gateway follows its changes. It has TLS,
    unless the server is on this machine."""
    jwt_issuer: str = Field(default="im-timeline", min_length=1)
    jwt_audience: str = Field(default="im-timeline", min_length=1)
    jwt_leeway_seconds: int = Field(default=0, ge=0, le=300)
    """Tolerated difference between the clocks of the issuer and of the gateway."""
    jwt_max_age_seconds: Annotated[
        Annotated[int, Field(ge=1, le=10 * _YEAR_SECONDS)] | None,
        BeforeValidator(_empty_is_unset),
    ] = None
    """Maximum age of a token since its claim ``iat``. Without it, ``exp`` alone ends a token."""

    @model_validator(mode="after")
    def _keys_fit_the_algorithm(self) -> TokenSettings:
        public = {
            "IM_JWT_KEY_FILE": self.jwt_key_file,
            "IM_JWT_JWKS_FILE": self.jwt_jwks_file,
            "IM_JWT_JWKS_URL": self.jwt_jwks_url,
        }
        given = [name for name, value in public.items() if value is not None]
        if self.jwt_algorithm == "HS256":
            if given:
                raise ValueError(
                    f"{given[0]} has public keys, and IM_JWT_ALGORITHM=HS256 has none: set "
                    "IM_JWT_ALGORITHM to RS256, ES256 or EdDSA"
                )
            return self
        if self.jwt_secret.get_secret_value() or self.jwt_secret_file is not None:
            raise ValueError(
                "IM_JWT_SECRET and IM_JWT_SECRET_FILE are for IM_JWT_ALGORITHM=HS256, not for "
                f"{self.jwt_algorithm}: remove them"
            )
        if len(given) != 1:
            raise ValueError(
                f"IM_JWT_ALGORITHM={self.jwt_algorithm} needs exactly one of "
                f"{', '.join(public)}; set: {', '.join(given) or 'none'}"
            )
        return self
