"""Public keys from a PEM file or a JWKS (RFC 7517).

A key is used only with the one algorithm that the deployment configures. A key of another type, of
another curve or of an unsafe length is no key.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from schemas.errors import ImError
from schemas.token_settings import TokenAlgorithm

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

MIN_RSA_BITS: Final = 2_048
"""RFC 7518, section 3.3."""

MAX_RSA_BITS: Final = 8_192
"""A check of a signature takes longer with the square of the length."""

_MEMBERS: Final = {
    "RSA": ("kty", "n", "e"),
    "EC": ("kty", "crv", "x", "y"),
    "OKP": ("kty", "crv", "x"),
}
"""The members of the public part of a key, by its type. The private part is never used."""


class UnusableKeys(ImError):
    """A file or an answer has no key for the algorithm. The message quotes nothing of it."""


class _KeySet(msgspec.Struct):
    keys: list[Any]


def read_pem(pem: bytes, algorithm: TokenAlgorithm) -> PublicKey:
    """The one public key of a PEM file.

    Raises:
        UnusableKeys: The file has no public key, or its key does not fit the algorithm.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKeys("the file has no public key in PEM format") from None
    fitting = _fitting(key, algorithm)
    if fitting is None:
        raise UnusableKeys(f"the public key does not fit {algorithm}")
    return fitting


def read_jwks(document: bytes, algorithm: TokenAlgorithm) -> dict[str | None, PublicKey]:
    """The usable keys of a JWKS by their ``kid``; None is the ``kid`` of a key without one.

    Other keys of the set are skipped, as RFC 7517 demands. The first key with a ``kid`` counts.

    Raises:
        UnusableKeys: The document is not a JWKS, or has no key for the algorithm.
    """
    try:
        members = msgspec.json.decode(document, type=_KeySet).keys
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise UnusableKeys("the document is not a JWKS") from None
    usable: dict[str | None, PublicKey] = {}
    for member in members:
        key = _from_jwk(member, algorithm) if isinstance(member, dict) else None
        if key is not None:
            usable.setdefault(member.get("kid"), key)
    if not usable:
        raise UnusableKeys(f"the JWKS has no public key for {algorithm}")
    return usable


def _from_jwk(jwk: dict[str, Any], algorithm: TokenAlgorithm) -> PublicKey | None:
    kid, names = jwk.get("kid"), _MEMBERS.get(str(jwk.get("kty")))
    is_for_us = jwk.get("use", "sig") == "sig" and jwk.get("alg", algorithm) == algorithm
    if names is None or not is_for_us or not isinstance(kid, str | None):
        return None
    public = {name: jwk[name] for name in names if name in jwk}
    try:
        return _fitting(jwt.PyJWK(public, algorithm).key, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm):
        return None


def _fitting(key: object, algorithm: TokenAlgorithm) -> PublicKey | None:
    match algorithm, key:
        case "RS256", RSAPublicKey() if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            return key
        case "ES256", EllipticCurvePublicKey(curve=SECP256R1()):
            return key
        case "EdDSA", Ed25519PublicKey():
            return key
    return None
