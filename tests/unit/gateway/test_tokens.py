"""Bearer tokens: accepted and refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from gateway.http import tokens
from gateway.http.tokens import (
    EXPIRED,
    InvalidToken,
    InvalidUser,
    issue_token,
    remembering,
    verify_token,
)
from schemas.errors import ConfigurationError
from tests.support.gateway import SECRET, token_settings

SETTINGS = token_settings()
MINUTE = timedelta(minutes=1)


def claims(**changes: Any) -> dict[str, Any]:
    """Valid claims with changes; None removes a claim."""
    good = {
        "iss": SETTINGS.jwt_issuer,
        "aud": SETTINGS.jwt_audience,
        "exp": datetime.now(UTC) + MINUTE,
        "sub": "ann",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def part(value: dict[str, Any]) -> str:
    """An encoded part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("user", ["ann", "陈小明", "|QuaD-", "a b"])
def test_a_token_proves_its_subject(user: str) -> None:
    """A token proves the user for whom it was issued."""
    assert verify_token(SETTINGS, issue_token(SETTINGS, user, MINUTE)).user == user


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": -timedelta(seconds=1)},
        {"exp": None},
        {"exp": "soon"},
        {"iss": None},
        {"iss": "somebody else"},
        {"aud": None},
        {"aud": "another service"},
        {"aud": []},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 129},
        {"sub": "a\nb"},
        {"sub": 7},
        {"nbf": MINUTE},
    ],
    ids=str,
)
def test_each_claim_is_needed_and_checked(changes: dict[str, Any]) -> None:
    """A missing or wrong claim makes a correctly signed token invalid."""
    token = jwt.encode(claims(), SECRET, algorithm="HS256")
    assert verify_token(SETTINGS, token).user == "ann"
    parts = token.split(".")
    good = jwt.decode(token, options={"verify_signature": False})
    bad = {name: value for name, value in (good | _numbers(changes)).items() if value is not None}
    with pytest.raises(InvalidToken):
        verify_token(SETTINGS, jwt.api_jws.encode(json.dumps(bad).encode(), SECRET, "HS256"))
    with pytest.raises(InvalidToken):
        verify_token(SETTINGS, ".".join([parts[0], part(bad), parts[2]]))


def _numbers(changes: dict[str, Any]) -> dict[str, Any]:
    # The time of the test, because the time of its collection may be long ago.
    now = datetime.now(UTC)
    return {
        name: int((now + value).timestamp()) if isinstance(value, timedelta) else value
        for name, value in changes.items()
    }


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_is_refused(algorithm: str) -> None:
    """Another algorithm is refused, although the secret is right."""
    secret = SECRET * 3
    settings = token_settings(jwt_secret=SecretStr(secret))
    assert verify_token(settings, jwt.encode(claims(), secret, algorithm="HS256")).user == "ann"
    with pytest.raises(InvalidToken):
        verify_token(settings, jwt.encode(claims(), secret, algorithm=algorithm))


def test_no_algorithm_is_refused() -> None:
    """An unsigned token is refused, with any spelling of ``none``."""
    body = part(claims(exp=int((datetime.now(UTC) + MINUTE).timestamp())))
    with pytest.raises(InvalidToken):
        verify_token(SETTINGS, jwt.encode(claims(), "", algorithm="none"))
    for spelling in ("none", "None", "NONE", ""):
        for signature in ("", part({"a": 1})):
            token = f"{part({'alg': spelling, 'typ': 'JWT'})}.{body}.{signature}"
            with pytest.raises(InvalidToken):
                verify_token(SETTINGS, token)


def test_another_secret_is_refused() -> None:
    """A token with another secret is refused."""
    other = token_settings(jwt_secret=SecretStr("another secret of more than 32 bytes"))
    with pytest.raises(InvalidToken):
        verify_token(SETTINGS, issue_token(other, "ann", MINUTE))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "\x00", "é.é.é", "a" * 10_000, "e30.e30."]
)
def test_rubbish_is_refused(token: str) -> None:
    """Any other text is `InvalidToken`, and no other error."""
    with pytest.raises(InvalidToken):
        verify_token(SETTINGS, token)


@pytest.mark.parametrize("secret", ["", "x" * 31])
def test_a_short_secret_is_refused(secret: str) -> None:
    """A secret that is too short is refused at issue and at verification."""
    settings = token_settings(jwt_secret=SecretStr(secret))
    with pytest.raises(ConfigurationError, match="IM_JWT_SECRET"):
        issue_token(settings, "ann", MINUTE)
    with pytest.raises(ConfigurationError, match="IM_JWT_SECRET"):
        verify_token(settings, "a.b.c")


@pytest.mark.parametrize("user", ["", "x" * 129, "a\tb"])
def test_nobody_gets_a_token_under_a_name_that_is_no_id(user: str) -> None:
    """A token for an invalid user id is not issued."""
    with pytest.raises(InvalidUser, match="printable"):
        issue_token(SETTINGS, user, MINUTE)


def test_a_remembered_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature of a valid token is checked once, and its time at each call."""
    verify, token = remembering(SETTINGS), issue_token(SETTINGS, "ann", MINUTE)
    bearer = verify(token)
    monkeypatch.setattr(tokens, "verify_token", None)
    assert verify(token) == bearer
    monkeypatch.setattr("gateway.http.tokens.time.time", lambda: bearer.expires)
    with pytest.raises(InvalidToken, match=EXPIRED):
        verify(token)


def test_a_refused_token_is_checked_again() -> None:
    """An invalid token is checked at each call, before and after a valid one."""
    verify = remembering(SETTINGS)
    token = issue_token(SETTINGS, "ann", MINUTE)
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    for _ in range(2):
        with pytest.raises(InvalidToken):
            verify(forged)
        assert verify(token).user == "ann"
