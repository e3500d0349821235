"""Keys and tokens of the tests, and the clock of the checks of tokens."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import AllowedPrivateKeys

from tests.support.clock import Clock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def stop_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for PyJWT and for the gateway's own checks, in seconds since 1970."""
    clock = Clock()
    clock.now = NOON.timestamp()

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(clock.now, tz)

    monkeypatch.setattr("jwt.api_jwt.datetime", Stopped)
    monkeypatch.setattr("gateway.http.tokens.time.time", clock)
    return clock


@cache
def private_key(algorithm: str, number: int = 0) -> AllowedPrivateKeys:
    """A private key for an algorithm; another ``number`` is another key."""
    del number
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
    raise AssertionError(algorithm)


def pem(key: Any) -> bytes:
    """The public part of a private key, as a PEM file has it."""
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def jwk(algorithm: str, private: AllowedPrivateKeys, **members: Any) -> dict[str, Any]:
    """The public part of a private key, as a JWKS has it; None removes a member."""
    public = jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key(), as_dict=True)
    found = dict(public) | members
    return {name: value for name, value in found.items() if value is not None}


def jwks(*keys: Any) -> bytes:
    """A JWKS of these keys."""
    return json.dumps({"keys": keys}).encode()


def token_of(
    algorithm: str, key: Any, kid: str | None = None, user: str = "ann", **changes: Any
) -> str:
    """A token with the claims that the default settings demand, and these changes."""
    claims = {
        "iss": "im-timeline",
        "aud": "im-timeline",
        "exp": datetime.now(UTC) + timedelta(minutes=5),
        "sub": user,
    }
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims | changes, key, algorithm=algorithm, headers=headers)
