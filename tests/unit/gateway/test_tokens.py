"""Bearer tokens: accepted and refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from gateway.http.tokens import (
    Bearer,
    InvalidToken,
    InvalidUser,
    TokenVerifier,
    issue_token,
    verify_token,
)
from gateway.token_keys.key_source import FixedKeys, OneKey, VerificationKey, fixed_keys
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from tests.support.clock import Clock
from tests.support.gateway import SECRET, token_settings
from tests.support.tokens import stop_clock

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


def signed(clock: Clock | None = None, **changes: Any) -> str:
    """A token with these claims; with a clock, it ends an hour later."""
    ends = {} if clock is None else {"exp": clock.now + 3_600}
    return jwt.encode(claims(**(ends | changes)), SECRET, algorithm="HS256")


def verified(settings: Settings, token: str) -> Bearer:
    """What a token proves with the secret of the settings."""
    return verify_token(settings, fixed_keys(settings).keys, token)


def part(value: dict[str, Any]) -> str:
    """An encoded part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("user", ["ann", "陈小明", "|QuaD-", "a b"])
def test_a_token_proves_its_subject(user: str) -> None:
    """A token proves the user for whom it was issued."""
    assert verified(SETTINGS, issue_token(SETTINGS, user, MINUTE)).user == user


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
        {"iat": MINUTE},
        {"iat": "now"},
        {"device": ""},
        {"device": 7},
    ],
    ids=str,
)
def test_each_claim_is_needed_and_checked(changes: dict[str, Any]) -> None:
    """A missing or wrong claim makes a correctly signed token invalid."""
    token = jwt.encode(claims(), SECRET, algorithm="HS256")
    assert verified(SETTINGS, token).user == "ann"
    parts = token.split(".")
    good = jwt.decode(token, options={"verify_signature": False})
    bad = {name: value for name, value in (good | _numbers(changes)).items() if value is not None}
    with pytest.raises(InvalidToken):
        verified(SETTINGS, jwt.api_jws.encode(json.dumps(bad).encode(), SECRET, "HS256"))
    with pytest.raises(InvalidToken):
        verified(SETTINGS, ".".join([parts[0], part(bad), parts[2]]))


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
    assert verified(settings, jwt.encode(claims(), secret, algorithm="HS256")).user == "ann"
    with pytest.raises(InvalidToken):
        verified(settings, jwt.encode(claims(), secret, algorithm=algorithm))


def test_no_algorithm_is_refused() -> None:
    """An unsigned token is refused, with any spelling of ``none``."""
    body = part(claims(exp=int((datetime.now(UTC) + MINUTE).timestamp())))
    with pytest.raises(InvalidToken):
        verified(SETTINGS, jwt.encode(claims(), "", algorithm="none"))
    for spelling in ("none", "None", "NONE", ""):
        for signature in ("", part({"a": 1})):
            token = f"{part({'alg': spelling, 'typ': 'JWT'})}.{body}.{signature}"
            with pytest.raises(InvalidToken):
                verified(SETTINGS, token)


def test_another_secret_is_refused() -> None:
    """A token with another secret is refused."""
    other = token_settings(jwt_secret=SecretStr("another secret of more than 32 bytes"))
    with pytest.raises(InvalidToken):
        verified(SETTINGS, issue_token(other, "ann", MINUTE))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "\x00", "é.é.é", "a" * 10_000, "e30.e30."]
)
def test_a_malformed_token_is_refused(token: str) -> None:
    """Any other text is `InvalidToken`, and no other error."""
    with pytest.raises(InvalidToken):
        verified(SETTINGS, token)


@pytest.mark.parametrize("secret", ["", "x" * 31])
def test_a_short_secret_is_refused(secret: str) -> None:
    """A secret that is too short is refused at issue and at verification."""
    settings = token_settings(jwt_secret=SecretStr(secret))
    with pytest.raises(ConfigurationError, match="IM_JWT_SECRET"):
        issue_token(settings, "ann", MINUTE)
    with pytest.raises(ConfigurationError, match="IM_JWT_SECRET"):
        verified(settings, "a.b.c")


@pytest.mark.parametrize("user", ["", "x" * 129, "a\tb"])
def test_no_token_is_made_for_an_invalid_id(user: str) -> None:
    """A token for an invalid user id is not issued."""
    with pytest.raises(InvalidUser, match="printable"):
        issue_token(SETTINGS, user, MINUTE)


def test_a_token_may_name_a_device() -> None:
    """The claim ``device`` is part of what the token proves, and is absent without it."""
    assert verified(SETTINGS, issue_token(SETTINGS, "ann", MINUTE, "phone")).device == "phone"
    assert verified(SETTINGS, issue_token(SETTINGS, "ann", MINUTE)).device is None
    with pytest.raises(InvalidUser, match="printable"):
        issue_token(SETTINGS, "ann", MINUTE, "a\nb")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all checks of tokens."""
    return stop_clock(monkeypatch)


@pytest.mark.parametrize("leeway", [0, 30])
def test_a_token_ends_at_its_expiry_and_the_leeway(clock: Clock, leeway: int) -> None:
    """A token is valid until ``exp`` and the leeway, and refused from then on."""
    settings = token_settings(jwt_leeway_seconds=leeway)
    token = signed(exp=clock.now + 60)
    clock.now += 60 + leeway - 1
    assert verified(settings, token).expires == clock.now + 1
    clock.now += 1
    with pytest.raises(InvalidToken, match="has expired"):
        verified(settings, token)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("leeway", [0, 30])
def test_a_token_from_the_future_is_refused(clock: Clock, claim: str, leeway: int) -> None:
    """``nbf`` and ``iat`` may be in the future by the leeway, and not by a second more."""
    settings = token_settings(jwt_leeway_seconds=leeway)
    assert verified(settings, signed(clock, **{claim: clock.now + leeway})).user == "ann"
    with pytest.raises(InvalidToken, match="in the future"):
        verified(settings, signed(clock, **{claim: clock.now + leeway + 1}))


@pytest.mark.parametrize("leeway", [0, 30])
def test_a_token_ends_at_its_maximum_age(clock: Clock, leeway: int) -> None:
    """A token is valid until the maximum age and the leeway, although ``exp`` is later."""
    settings = token_settings(jwt_leeway_seconds=leeway, jwt_max_age_seconds=600)
    token = signed(exp=clock.now + 6_000, iat=clock.now)
    clock.now += 600 + leeway - 1
    assert verified(settings, token).expires == clock.now + 1
    clock.now += 1
    with pytest.raises(InvalidToken, match="older than the maximum age"):
        verified(settings, token)
    assert verified(token_settings(), token).user == "ann"


def test_a_maximum_age_needs_the_time_of_issue(clock: Clock) -> None:
    """A token without ``iat`` has no age, so a maximum age refuses the token."""
    with pytest.raises(InvalidToken, match="The claim iat is missing"):
        verified(token_settings(jwt_max_age_seconds=600), signed(clock))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "other"}, "The claim iss names another issuer"),
        ({"aud": "other"}, "The claim aud names another audience"),
        ({"exp": None}, "The claim exp is missing"),
        ({"sub": "a\nb"}, "The claim sub is not the id of a user"),
        ({"device": ""}, "The claim device is not the id of a device"),
    ],
    ids=str,
)
def test_the_reason_names_the_check_and_the_kid(changes: dict[str, Any], why: str) -> None:
    """The reason for the log names the failed check and the ``kid``, and no part of the token."""
    token = jwt.encode(claims(**changes), SECRET, algorithm="HS256", headers={"kid": "key-1"})
    with pytest.raises(InvalidToken, match=why) as refused:
        verified(SETTINGS, token)
    assert "(kid: key-1)" in str(refused.value)
    assert all(each not in str(refused.value) for each in token.split("."))


@pytest.mark.parametrize("kid", ["a\nb", "x" * 65, "", "<b>", "钥匙"])
def test_a_strange_kid_is_not_logged(kid: str) -> None:
    """Everybody can send any ``kid``; the reason contains only short plain ones."""
    token = jwt.encode(claims(iss="other"), SECRET, algorithm="HS256", headers={"kid": kid})
    with pytest.raises(InvalidToken, match=r"\(kid: not a plain text\)$"):
        verified(SETTINGS, token)


class CountedKeys(OneKey):
    """One key that counts how often a check needs it."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.found = 0

    def find(self, kid: str | None) -> VerificationKey | None:
        self.found += 1
        return super().find(kid)


async def test_a_remembered_token_expires(clock: Clock) -> None:
    """The signature of a valid token is checked once, and its end at each call."""
    keys = CountedKeys(SECRET)
    verifier = TokenVerifier(token_settings(jwt_leeway_seconds=5), FixedKeys(keys))
    token = signed(exp=clock.now + 60)
    bearer = await verifier.verify(token)
    clock.now += 64
    assert await verifier.verify(token) == bearer
    assert keys.found == 1
    clock.now += 1
    with pytest.raises(InvalidToken, match="has expired"):
        await verifier.verify(token)


async def test_a_refused_token_is_checked_again() -> None:
    """An invalid token is checked at each call, before and after a valid one."""
    verifier = TokenVerifier(SETTINGS, fixed_keys(SETTINGS))
    token = issue_token(SETTINGS, "ann", MINUTE)
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    for _ in range(2):
        with pytest.raises(InvalidToken, match="signature"):
            await verifier.verify(forged)
        assert (await verifier.verify(token)).user == "ann"


async def test_remembered_tokens_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more valid tokens than the bound, the oldest is checked again, the newest is not."""
    monkeypatch.setattr("gateway.http.tokens.REMEMBERED", 2)
    keys = CountedKeys(SECRET)
    verifier = TokenVerifier(SETTINGS, FixedKeys(keys))
    first, second, third = (issue_token(SETTINGS, user, MINUTE) for user in ("a", "b", "c"))
    for token in (first, second, second, third, third):
        await verifier.verify(token)
    assert keys.found == 3
    await verifier.verify(first)
    assert keys.found == 4


async def test_a_token_of_a_removed_key_is_refused_although_remembered() -> None:
    """Other keys check every token again, so a removed key revokes remembered tokens."""
    source = FixedKeys(OneKey(SECRET))
    verifier = TokenVerifier(SETTINGS, source)
    token = issue_token(SETTINGS, "ann", MINUTE)
    assert (await verifier.verify(token)).user == "ann"
    source.keys = OneKey("another secret of more than 32 bytes")
    with pytest.raises(InvalidToken, match="signature"):
        await verifier.verify(token)
