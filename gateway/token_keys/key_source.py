"""Where the keys that check tokens come from, and which key checks a token."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import jwt
from pydantic import SecretStr

from gateway.token_keys.public_keys import PublicKey, UnusableKeys, read_jwks, read_pem
from schemas.errors import ConfigurationError
from schemas.settings import Settings

VerificationKey: TypeAlias = str | PublicKey
"""The secret of HS256, or a public key."""

MIN_SECRET_BYTES: Final = 32
"""RFC 7518, section 3.2: a key is at least as long as the hash, which has 256 bits."""


class VerificationKeys(ABC):
    """The keys of one moment. Another set of keys is another object."""

    @abstractmethod
    def find(self, kid: str | None) -> VerificationKey | None:
        """The key for a token with this ``kid`` in its header; None if there is no such key."""


class OneKey(VerificationKeys):
    """One key for all tokens, whatever their ``kid``."""

    def __init__(self, key: VerificationKey) -> None:
        self._key = key

    def find(self, kid: str | None) -> VerificationKey | None:
        """See `VerificationKeys`."""
        del kid
        return self._key


class NamedKeys(VerificationKeys):
    """Keys by their ``kid``. A token without ``kid`` needs a set of one key."""

    def __init__(self, keys: Mapping[str | None, PublicKey]) -> None:
        self.keys = keys

    def find(self, kid: str | None) -> VerificationKey | None:
        """See `VerificationKeys`."""
        if kid is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        return None if kid is None else self.keys.get(kid)


class KeySource(Protocol):
    """The present keys, and a way to get newer ones."""

    @property
    def keys(self) -> VerificationKeys:
        """The present keys: the same object until the keys change."""

    async def refresh(self) -> None:
        """Gets newer keys if possible: a token names a ``kid`` that is not among the present ones.

        Raises:
            ServerUnavailable: The present keys may be out of date, because their server fails.
        """

    def running(self) -> AbstractAsyncContextManager[None]:
        """Follows the changes of the keys in the background, until the end of the context."""


class FixedKeys:
    """Keys that do not change before the end of the process."""

    def __init__(self, keys: VerificationKeys) -> None:
        self.keys = keys

    async def refresh(self) -> None:
        """See `KeySource`."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """See `KeySource`."""
        yield


def signing_secret(settings: Settings) -> str:
    """The secret that signs and checks tokens of HS256.

    Raises:
        ConfigurationError: The secret is missing, too short to be safe, or no secret.
    """
    secret = settings.jwt_secret.get_secret_value()
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"IM_JWT_SECRET must have at least {MIN_SECRET_BYTES} bytes: set the variable or "
            "IM_JWT_SECRET_FILE, or use `im up`, which makes a secret"
        )
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ConfigurationError(
            "IM_JWT_SECRET is a public or private key, not a secret: for a public key, set "
            "IM_JWT_KEY_FILE and IM_JWT_ALGORITHM"
        ) from None
    return secret


def with_secret(settings: Settings) -> Settings:
    """The settings with the secret from IM_JWT_SECRET_FILE, if IM_JWT_SECRET is not set.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    path = settings.jwt_secret_file
    if path is None or settings.jwt_secret.get_secret_value():
        return settings
    try:
        secret = _content("IM_JWT_SECRET_FILE", path).decode().strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"IM_JWT_SECRET_FILE: {path} is not UTF-8") from None
    return settings.model_copy(update={"jwt_secret": SecretStr(secret)})


def fixed_keys(settings: Settings) -> FixedKeys:
    """The keys of the secret or of a file.

    Raises:
        ConfigurationError: The secret is not safe, or the file has no key for the algorithm.
    """
    if settings.jwt_key_file is not None:
        pem = _content("IM_JWT_KEY_FILE", settings.jwt_key_file)
        with _naming("IM_JWT_KEY_FILE", settings.jwt_key_file):
            return FixedKeys(OneKey(read_pem(pem, settings.jwt_algorithm)))
    if settings.jwt_jwks_file is not None:
        document = _content("IM_JWT_JWKS_FILE", settings.jwt_jwks_file)
        with _naming("IM_JWT_JWKS_FILE", settings.jwt_jwks_file):
            return FixedKeys(NamedKeys(read_jwks(document, settings.jwt_algorithm)))
    return FixedKeys(OneKey(signing_secret(settings)))


def _content(variable: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{variable}: {path} cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def _naming(variable: str, path: Path) -> Iterator[None]:
    try:
        yield
    except UnusableKeys as error:
        raise ConfigurationError(f"{variable}: {path}: {error}") from None
