"""Public keys from files: each algorithm accepts its own tokens, and no others."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from gateway.http.tokens import InvalidToken, UnknownKey, issue_token, key_source, verify_token
from gateway.token_keys.key_source import NamedKeys, VerificationKeys
from gateway.token_keys.public_keys import UnusableKeys, read_jwks, read_pem
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from schemas.token_settings import TokenAlgorithm
from tests.support.gateway import SECRET, token_settings
from tests.support.tokens import jwk, jwks, pem, private_key, token_of

ALGORITHMS: list[TokenAlgorithm] = ["RS256", "ES256", "EdDSA"]
KINDS = ["pem", "jwks"]
SHORT_BITS = 1_024


def with_file(
    folder: Path, algorithm: TokenAlgorithm, kind: str, content: bytes | None = None
) -> Settings:
    """Settings with a file of one public key with the ``kid`` k1, or with this content."""
    key, path = private_key(algorithm), folder / kind
    default = pem(key) if kind == "pem" else jwks(jwk(algorithm, key, kid="k1"))
    path.write_bytes(default if content is None else content)
    field = {"pem": "jwt_key_file", "jwks": "jwt_jwks_file"}[kind]
    return Settings(**{"jwt_algorithm": algorithm, field: path})  # type: ignore[arg-type]


def keys_of(settings: Settings) -> VerificationKeys:
    """The keys at the start of a gateway."""
    return key_source(settings).keys


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_public_key_checks_tokens(tmp_path: Path, algorithm: TokenAlgorithm, kind: str) -> None:
    """A token of the private key is accepted, and a token of another private key is not."""
    settings = with_file(tmp_path, algorithm, kind)
    keys = keys_of(settings)
    own, other = private_key(algorithm), private_key(algorithm, 1)
    assert verify_token(settings, keys, token_of(algorithm, own, "k1")).user == "ann"
    assert verify_token(settings, keys, token_of(algorithm, own)).user == "ann"
    with pytest.raises(InvalidToken, match="signature is wrong"):
        verify_token(settings, keys, token_of(algorithm, other, "k1"))


@pytest.mark.parametrize("named", ["HS256", "HS512", "RS256", "RS512", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("configured", ["HS256", *ALGORITHMS])
def test_the_deployment_chooses_the_algorithm(
    tmp_path: Path, configured: TokenAlgorithm, named: str
) -> None:
    """A token with another algorithm is refused, also if its signature fits the same key."""
    if configured == "HS256":
        settings, own = token_settings(), SECRET * 2
        settings = settings.model_copy(update={"jwt_secret": SecretStr(own)})
    else:
        settings, own = with_file(tmp_path, configured, "pem"), ""
    keys = keys_of(settings)
    of_type = {"RS512": "RS256", "PS256": "RS256"}.get(named, named)
    key = SECRET * 2 if named.startswith("HS") else private_key(of_type)
    token = token_of(named, key, "k1")
    if named == configured:
        assert verify_token(settings, keys, token).user == "ann"
    else:
        with pytest.raises(InvalidToken, match="names another algorithm"):
            verify_token(settings, keys, token)


@pytest.mark.parametrize("spelling", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_unsigned_token_is_refused(
    tmp_path: Path, algorithm: TokenAlgorithm, spelling: str
) -> None:
    """No spelling of ``none`` and no empty signature is accepted."""
    settings = with_file(tmp_path, algorithm, "jwks")
    header, body, signature = token_of(algorithm, private_key(algorithm), "k1").split(".")
    unsigned = encoded({"alg": spelling, "typ": "JWT", "kid": "k1"})
    for token in (f"{unsigned}.{body}.", f"{unsigned}.{body}.{signature}", f"{header}.{body}."):
        with pytest.raises(InvalidToken):
            verify_token(settings, keys_of(settings), token)


def encoded(value: dict[str, Any]) -> str:
    """An encoded part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("named", ["HS256", None])
def test_a_public_key_is_no_secret(
    tmp_path: Path, algorithm: TokenAlgorithm, kind: str, named: str | None
) -> None:
    """A token that is signed with the public key as an HMAC secret is refused."""
    settings = with_file(tmp_path, algorithm, kind)
    key = private_key(algorithm)
    body = token_of(algorithm, key).split(".")[1]
    signed = f"{encoded({'alg': named or algorithm, 'typ': 'JWT', 'kid': 'k1'})}.{body}"
    for secret in (pem(key), pem(key).strip(), jwks(jwk(algorithm, key, kid="k1"))):
        mac = hmac.digest(secret, signed.encode(), hashlib.sha256)
        token = f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
        with pytest.raises(InvalidToken, match=r"another algorithm|signature"):
            verify_token(settings, keys_of(settings), token)


def test_a_key_as_the_secret_of_hs256_is_refused_at_the_start() -> None:
    """A public key as the secret would let everybody sign, so the gateway does not start."""
    settings = token_settings(jwt_secret=SecretStr(pem(private_key("RS256")).decode()))
    with pytest.raises(ConfigurationError, match="IM_JWT_SECRET is a public or private key"):
        key_source(settings)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_only_the_issuer_makes_tokens(tmp_path: Path, algorithm: TokenAlgorithm) -> None:
    """`im token` states why it makes no token without a private key."""
    with pytest.raises(ConfigurationError, match=f"IM_JWT_ALGORITHM={algorithm}.*private key"):
        issue_token(with_file(tmp_path, algorithm, "pem"), "ann", timedelta(minutes=1))


def test_a_key_set_finds_keys_by_their_kid(tmp_path: Path) -> None:
    """Each token is checked with the key that it names; an unknown or missing kid finds no key."""
    first, second = private_key("ES256"), private_key("ES256", 1)
    content = jwks(jwk("ES256", first, kid="k1"), jwk("ES256", second, kid="k2"))
    settings = with_file(tmp_path, "ES256", "jwks", content)
    keys = keys_of(settings)
    for key, name in ((first, "k1"), (second, "k2")):
        assert verify_token(settings, keys, token_of("ES256", key, name)).user == "ann"
    with pytest.raises(InvalidToken, match=r"signature is wrong. \(kid: k1\)"):
        verify_token(settings, keys, token_of("ES256", second, "k1"))
    for kid in ("k3", None):
        with pytest.raises(UnknownKey, match="No key has this kid"):
            verify_token(settings, keys, token_of("ES256", first, kid))


UNUSABLE = {
    "not an object": "text",
    "no type": {"kid": "k"},
    "a secret": {"kty": "oct", "k": "c2VjcmV0", "kid": "k"},
    "another type": jwk("ES256", private_key("ES256"), kid="k"),
    "for encryption": jwk("RS256", private_key("RS256"), kid="k", use="enc"),
    "another algorithm": jwk("RS256", private_key("RS256"), kid="k", alg="RS512"),
    "no modulus": jwk("RS256", private_key("RS256"), kid="k", n=None),
    "a modulus of another type": jwk("RS256", private_key("RS256"), kid="k", n=7),
    "an even exponent": jwk("RS256", private_key("RS256"), kid="k", e="Ag"),
    "a kid of another type": jwk("RS256", private_key("RS256"), kid=7),
    "a short key": jwk("RS256", rsa.generate_private_key(65_537, SHORT_BITS), kid="k"),
}


@pytest.mark.parametrize("why", UNUSABLE)
def test_unusable_keys_of_a_set_are_skipped(why: str) -> None:
    """A key that does not fit is skipped, and the usable key beside it is used."""
    usable = jwk("RS256", private_key("RS256"), kid="good", use="sig", alg="RS256")
    assert list(read_jwks(jwks(UNUSABLE[why], usable), "RS256")) == ["good"]
    with pytest.raises(UnusableKeys, match="no public key for RS256"):
        read_jwks(jwks(UNUSABLE[why]), "RS256")


def test_the_private_part_of_a_key_is_not_used() -> None:
    """A set with private keys by mistake gives public keys."""
    private = jwt.get_algorithm_by_name("ES256").to_jwk(private_key("ES256"), as_dict=True)
    found = read_jwks(jwks(dict(private) | {"kid": "k"}), "ES256")
    assert found == {"k": private_key("ES256").public_key()}


@pytest.mark.parametrize("bits", [2_047, 2_048, 8_192, 8_193])
def test_the_length_of_an_rsa_key_is_bounded(bits: int) -> None:
    """A shorter key is unsafe, and the check of a longer one is slow."""
    public = rsa.RSAPublicNumbers(65_537, (1 << (bits - 1)) + 1).public_key()
    member = dict(jwt.get_algorithm_by_name("RS256").to_jwk(public, as_dict=True)) | {"kid": "k"}
    if 2_048 <= bits <= 8_192:
        assert read_jwks(jwks(member), "RS256") == {"k": public}
    else:
        with pytest.raises(UnusableKeys):
            read_jwks(jwks(member), "RS256")


def test_other_curves_are_refused() -> None:
    """ES256 is P-256 alone, and EdDSA is Ed25519 alone."""
    for algorithm, key in (
        ("ES256", ec.generate_private_key(ec.SECP384R1())),
        ("ES256", ec.generate_private_key(ec.SECP256K1())),
        ("EdDSA", ed448.Ed448PrivateKey.generate()),
    ):
        with pytest.raises(UnusableKeys, match=f"does not fit {algorithm}"):
            read_pem(pem(key), algorithm)  # type: ignore[arg-type]
    p384 = jwk("ES384", ec.generate_private_key(ec.SECP384R1()), kid="k", alg=None)
    with pytest.raises(UnusableKeys):
        read_jwks(jwks(p384), "ES256")


GARBAGE = {
    "empty": b"",
    "not JSON": b"<html>",
    "not UTF-8": b'{"keys": [{"kid": "\xff"}]}',
    "a list": b"[]",
    "no keys": b"{}",
    "keys of another type": b'{"keys": {}}',
    "no key": b'{"keys": []}',
    "nested": b"[" * 60_000,
    "nested keys": b'{"keys": [' + b"[" * 60_000,
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_no_key_set(tmp_path: Path, what: str) -> None:
    """A file that is not a JWKS ends the gateway with one line that names variable and file."""
    settings = with_file(tmp_path, "RS256", "jwks", GARBAGE[what])
    with pytest.raises(ConfigurationError, match=r"IM_JWT_JWKS_FILE: .*jwks: the ") as refused:
        key_source(settings)
    assert "\n" not in str(refused.value)


def private_pem() -> bytes:
    """A private key, which must not be on the machine of a gateway."""
    key: Any = private_key("RS256")
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no public key in PEM format"),
        (b"rubbish", "no public key in PEM format"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        (private_pem(), "no public key in PEM format"),
        (pem(private_key("ES256")), "does not fit RS256"),
        (pem(rsa.generate_private_key(65_537, SHORT_BITS)), "does not fit RS256"),
    ],
    ids=["empty", "rubbish", "broken", "private", "another type", "short"],
)
def test_a_wrong_key_file_ends_the_gateway(tmp_path: Path, content: bytes, why: str) -> None:
    """A file without a fitting public key ends the gateway with one line that names it."""
    settings = with_file(tmp_path, "RS256", "pem", content)
    with pytest.raises(ConfigurationError, match=f"IM_JWT_KEY_FILE: .*pem: .*{why}") as refused:
        key_source(settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_key_file_ends_the_gateway(tmp_path: Path, kind: str) -> None:
    """A file that cannot be read ends the gateway with one line that names it."""
    settings = with_file(tmp_path, "RS256", kind)
    (tmp_path / kind).unlink()
    with pytest.raises(ConfigurationError, match=r"IM_JWT_\w+_FILE: .* cannot be read: No such"):
        key_source(settings)


def test_a_set_of_one_key_needs_no_kid() -> None:
    """Without a kid, the only key of a set is used; a set of two keys has no default."""
    one, two = private_key("EdDSA"), private_key("EdDSA", 1)
    only = read_jwks(jwks(jwk("EdDSA", one)), "EdDSA")
    assert NamedKeys(only).find(None) == one.public_key()
    both = read_jwks(jwks(jwk("EdDSA", one), jwk("EdDSA", two, kid="k")), "EdDSA")
    assert NamedKeys(both).find(None) is None
    assert NamedKeys(both).find("k") == two.public_key()
