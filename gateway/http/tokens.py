"""Bearer tokens, which identify the caller.

A token is a JWT (RFC 7519). The deployment configures the algorithm and the keys: a token that
names another algorithm, including ``none``, is refused before a key is looked up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import jwt
from jwt.exceptions import InvalidSubjectError

from gateway.reads.readable_ids import is_id
from gateway.token_keys.jwks_url import RotatingKeys
from gateway.token_keys.key_source import (
    FixedKeys,
    KeySource,
    VerificationKeys,
    fixed_keys,
    signing_secret,
)
from schemas.errors import ConfigurationError, ImError
from schemas.records import MAX_ID_LENGTH
from schemas.settings import Settings

REMEMBERED: Final = 4_096
"""Valid tokens whose signatures are not checked again."""

_CLAIMS: Final = ["iss", "aud", "exp", "sub"]

_PLAIN_KID: Final = re.compile(r"[A-Za-z0-9._~+/=:-]{1,64}", re.ASCII)
"""A ``kid`` that the log may contain. Everybody can send any text as ``kid``."""

_FAILED_CHECKS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (jwt.ExpiredSignatureError, "The token has expired."),
    (jwt.ImmatureSignatureError, "The claim nbf or iat is in the future."),
    (jwt.InvalidIssuerError, "The claim iss names another issuer."),
    (jwt.InvalidAudienceError, "The claim aud names another audience."),
    (InvalidSubjectError, "The claim sub is not a text."),
    (jwt.InvalidSignatureError, "The signature is wrong."),
)


class InvalidToken(ImError):
    """The token does not identify its bearer; the message has the failed check, no token.

    The message is for the log. The answer is `gateway.http.problem_kinds.invalid_token`.
    """


class UnknownKey(InvalidToken):
    """The token names a key that the gateway does not have."""


class InvalidUser(ImError, ValueError):
    """No user can have this id, so a token for it would never be accepted."""


def issue_token(
    settings: Settings, user: str, lifetime: timedelta, device: str | None = None
) -> str:
    """A token that allows its bearer to act as ``user`` for ``lifetime`` from now on.

    Only for HS256: with another algorithm, the deployment has no key that signs.

    Raises:
        ConfigurationError: The secret is missing or too short, or the algorithm is another one.
        InvalidUser: ``user`` or ``device`` is not a possible id.
    """
    if settings.jwt_algorithm != "HS256":
        raise ConfigurationError(
            f"tokens of IM_JWT_ALGORITHM={settings.jwt_algorithm} cannot be made here, because "
            "only their issuer has the private key; `im token` works with HS256"
        )
    if not is_id(user) or not (device is None or is_id(device)):
        raise InvalidUser(
            f"the id of a user or device has 1 to {MAX_ID_LENGTH} printable characters"
        )
    now = datetime.now(UTC)
    claims = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": user,
        "iat": now,
        "exp": now + lifetime,
    }
    if device is not None:
        claims["device"] = device
    return jwt.encode(claims, signing_secret(settings), algorithm=settings.jwt_algorithm)


class Bearer(NamedTuple):
    """The user of a token, the end of its validity, and its device.

    ``expires``: seconds since 1970, with the leeway. ``device``: the claim ``device``, if any.
    """

    user: str
    expires: float
    device: str | None = None


def verify_token(settings: Settings, keys: VerificationKeys, token: str) -> Bearer:
    """Checks a token and returns what it proves.

    Raises:
        UnknownKey: No key has the token's ``kid``.
        InvalidToken: The token has another algorithm, signature, issuer or audience, is expired,
            too old or not yet valid, or has no user.
    """
    with _refusals("unreadable"):
        header = jwt.get_unverified_header(token)
    kid = header.get("kid")
    with _refusals(kid):
        if header.get("alg") != settings.jwt_algorithm:
            raise InvalidToken("The header names another algorithm.")
        key = keys.find(kid)
        if key is None:
            raise UnknownKey("No key has this kid.")
        claims = jwt.decode(
            token,
            key,
            algorithms=[settings.jwt_algorithm],
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=settings.jwt_leeway_seconds,
            options={"require": _required(settings)},
        )
        return _bearer(settings, claims)


def _required(settings: Settings) -> list[str]:
    return _CLAIMS if settings.jwt_max_age_seconds is None else [*_CLAIMS, "iat"]


def _bearer(settings: Settings, claims: dict[str, Any]) -> Bearer:
    expires = int(claims["exp"])
    if settings.jwt_max_age_seconds is not None:
        expires = min(expires, int(claims["iat"]) + settings.jwt_max_age_seconds)
    expires += settings.jwt_leeway_seconds
    if expires <= time.time():
        raise InvalidToken("The token is older than the maximum age.")
    user, device = claims["sub"], claims.get("device")
    if not is_id(user):
        raise InvalidToken("The claim sub is not the id of a user.")
    if not (device is None or is_id(device)):
        raise InvalidToken("The claim device is not the id of a device.")
    return Bearer(user, float(expires), device)


@contextmanager
def _refusals(kid: str | None) -> Iterator[None]:
    """Names the failed check and the ``kid``, and quotes nothing else of the token."""
    where = f"kid: {_loggable(kid)}"
    try:
        yield
    except InvalidToken as error:
        raise type(error)(f"{error} ({where})") from None
    except jwt.MissingRequiredClaimError as error:
        raise InvalidToken(f"The claim {error.claim} is missing. ({where})") from None
    except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
        known = (why for kind, why in _FAILED_CHECKS if isinstance(error, kind))
        raise InvalidToken(f"{next(known, 'The token is malformed.')} ({where})") from None


def _loggable(kid: str | None) -> str:
    if kid is None:
        return "none"
    return kid if _PLAIN_KID.fullmatch(kid) else "not a plain text"


class TokenVerifier:
    """Checks the tokens of callers with the present keys of the deployment.

    A valid token is checked once for each set of keys, and its end at each call: the check of a
    signature takes a tenth of the processor time of a page. Invalid tokens are not remembered, so
    only callers with a valid token use the memory.
    """

    def __init__(self, settings: Settings, source: KeySource) -> None:
        self._source = source
        self._check = partial(verify_token, settings)
        self._remembered = lru_cache(REMEMBERED)(self._check)

    async def verify(self, token: str) -> Bearer:
        """What a token proves.

        Raises:
            InvalidToken: The token does not identify its bearer.
            ServerUnavailable: The token may have a new key, and the server of the keys fails.
        """
        try:
            return self._verify(token)
        except UnknownKey:
            await self._source.refresh()
        return self._verify(token)

    def _verify(self, token: str) -> Bearer:
        keys = self._source.keys
        bearer = self._remembered(keys, token)
        if bearer.expires <= time.time():
            return self._check(keys, token)  # states which check fails
        return bearer


def key_source(settings: Settings) -> RotatingKeys | FixedKeys:
    """The keys of the deployment, from the secret, a file or the URL of IM_JWT_JWKS_URL.

    Raises:
        ConfigurationError: The secret is not safe, or the file has no key for the algorithm.
    """
    if settings.jwt_jwks_url is not None:
        return RotatingKeys(settings.jwt_jwks_url, settings.jwt_algorithm)
    return fixed_keys(settings)
