"""Bearer tokens, which identify the caller.

A token is a JWT (RFC 7519) signed with HS256. The algorithm is fixed in this module: a token that
names another one, including ``none``, is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, NamedTuple

import jwt
from pydantic import SecretStr

from gateway.reads.readable_ids import is_id
from schemas.errors import ConfigurationError, ImError
from schemas.records import MAX_ID_LENGTH
from schemas.settings import Settings

MIN_SECRET_BYTES: Final = 32
"""RFC 7518, section 3.2: a key is at least as long as the hash, which has 256 bits."""

EXPIRED: Final = "The token has expired."

REMEMBERED: Final = 4_096
"""Valid tokens whose signatures are not checked again."""

_ALGORITHM: Final = "HS256"
_CLAIMS: Final = ["iss", "aud", "exp", "sub"]


class InvalidToken(ImError):
    """The token does not identify its bearer; the message has the reason, but not the token."""


class InvalidUser(ImError, ValueError):
    """No user can have this id, so a token for it would never be accepted."""


def signing_secret(settings: Settings) -> str:
    """The secret that signs tokens.

    Raises:
        ConfigurationError: The secret is missing or too short to be safe.
    """
    secret = settings.jwt_secret.get_secret_value()
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"IM_JWT_SECRET must have at least {MIN_SECRET_BYTES} bytes: set the variable or "
            "IM_JWT_SECRET_FILE, or use `im up`, which makes a secret"
        )
    return secret


def with_secret(settings: Settings) -> Settings:
    """The settings with the secret from IM_JWT_SECRET_FILE, if IM_JWT_SECRET is not set.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    if settings.jwt_secret_file is not None and not settings.jwt_secret.get_secret_value():
        secret = SecretStr(_content(settings.jwt_secret_file))
        settings = settings.model_copy(update={"jwt_secret": secret})
    return settings


def _content(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"IM_JWT_SECRET_FILE: {path} cannot be read: {error}") from None


def issue_token(settings: Settings, user: str, lifetime: timedelta) -> str:
    """A token that allows its bearer to act as ``user`` for ``lifetime`` from now on.

    Raises:
        ConfigurationError: The secret is missing or too short.
        InvalidUser: ``user`` is not a possible id.
    """
    if not is_id(user):
        raise InvalidUser(f"the id of a user has 1 to {MAX_ID_LENGTH} printable characters")
    now = datetime.now(UTC)
    claims = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": user,
        "iat": now,
        "exp": now + lifetime,
    }
    return jwt.encode(claims, signing_secret(settings), algorithm=_ALGORITHM)


class Bearer(NamedTuple):
    """The user of a token, and the token's expiry (seconds since 1970)."""

    user: str
    expires: float


def verify_token(settings: Settings, token: str) -> Bearer:
    """Checks a token and returns its user and expiry.

    Raises:
        ConfigurationError: The secret is missing or too short.
        InvalidToken: The token has another signature, issuer or audience, is expired, or has no
            user.
    """
    try:
        claims = jwt.decode(
            token,
            signing_secret(settings),
            algorithms=[_ALGORITHM],
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            options={"require": _CLAIMS},
        )
    except jwt.ExpiredSignatureError:
        raise InvalidToken(EXPIRED) from None
    except (jwt.InvalidTokenError, ValueError, OverflowError, RecursionError):
        # The error does not state which check failed, because that would only help an attacker.
        raise InvalidToken("The token is not valid here.") from None
    user = claims["sub"]
    if not is_id(user):
        raise InvalidToken("The token names no user.")
    return Bearer(str(user), float(claims["exp"]))


def remembering(settings: Settings) -> Callable[[str], Bearer]:
    """`verify_token` that checks a token once, and whether the token has expired at each call.

    The check of a signature takes a tenth of the processor time of a page. A valid token can only
    become invalid by its expiry. Invalid tokens are not remembered, so only callers with a valid
    token use the memory.
    """
    checked = lru_cache(REMEMBERED)(partial(verify_token, settings))

    def verify(token: str) -> Bearer:
        bearer = checked(token)
        if int(bearer.expires) <= time.time():
            raise InvalidToken(EXPIRED)
        return bearer

    return verify
