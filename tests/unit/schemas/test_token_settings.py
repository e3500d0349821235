"""Settings of bearer tokens: which of them fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import load_settings

URL = "https://issuer.example/keys"
NEEDS = "IM_JWT_ALGORITHM=RS256 needs exactly one of IM_JWT_KEY_FILE"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [("KEY_FILE", "key.pem"), ("JWKS_FILE", "keys.json"), ("JWKS_URL", URL)],
)
def test_an_algorithm_with_public_keys_needs_one_source(
    algorithm: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source of public keys is accepted alone; an empty variable counts as not set."""
    monkeypatch.setenv("IM_JWT_ALGORITHM", algorithm)
    for name in ("KEY_FILE", "JWKS_FILE", "JWKS_URL", "SECRET", "SECRET_FILE", "MAX_AGE_SECONDS"):
        monkeypatch.setenv(f"IM_JWT_{name}", "")
    monkeypatch.setenv(f"IM_JWT_{variable}", value)
    settings = load_settings()
    there = getattr(settings, f"jwt_{variable.lower()}")
    assert there == (URL if variable == "JWKS_URL" else Path(value).absolute())
    assert settings.jwt_max_age_seconds is None


@pytest.mark.parametrize(
    ("url", "is_accepted"),
    [
        ("https://issuer.example/keys", True),
        ("http://127.0.0.1:8090/keys", True),
        ("http://[::1]/keys", True),
        ("http://localhost/keys", True),
        ("http://issuer.example/keys", False),
        ("http://10.0.0.1/keys", False),
        ("http://localhost.example/keys", False),
        ("http://127.0.0.1.example/keys", False),
    ],
)
def test_keys_are_not_read_from_another_machine_without_tls(
    url: str, *, is_accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL without TLS is accepted for addresses of this machine alone."""
    monkeypatch.setenv("IM_JWT_ALGORITHM", "RS256")
    monkeypatch.setenv("IM_JWT_JWKS_URL", url)
    if is_accepted:
        assert load_settings().jwt_jwks_url == url
        return
    with pytest.raises(ConfigurationError, match="IM_JWT_JWKS_URL: must begin with https://"):
        load_settings()


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"ALGORITHM": "none"}, "IM_JWT_ALGORITHM: "),
        ({"ALGORITHM": "RS512"}, "IM_JWT_ALGORITHM: "),
        ({"ALGORITHM": "HS256,RS256"}, "IM_JWT_ALGORITHM: "),
        ({"ALGORITHM": "RS256"}, NEEDS),
        (
            {"ALGORITHM": "RS256", "KEY_FILE": "a", "JWKS_URL": URL},
            f"{NEEDS}, IM_JWT_JWKS_FILE, IM_JWT_JWKS_URL; set: IM_JWT_KEY_FILE, IM_JWT_JWKS_URL",
        ),
        ({"KEY_FILE": "a"}, "IM_JWT_KEY_FILE has public keys, and IM_JWT_ALGORITHM=HS256 has"),
        ({"JWKS_FILE": "a"}, "IM_JWT_JWKS_FILE has public keys, and IM_JWT_ALGORITHM=HS256"),
        ({"JWKS_URL": URL}, "IM_JWT_JWKS_URL has public keys, and IM_JWT_ALGORITHM=HS256"),
        (
            {"ALGORITHM": "ES256", "JWKS_URL": URL, "SECRET": "s" * 40},
            "IM_JWT_SECRET and IM_JWT_SECRET_FILE are for IM_JWT_ALGORITHM=HS256, not for ES256",
        ),
        (
            {"ALGORITHM": "EdDSA", "JWKS_URL": URL, "SECRET_FILE": "a"},
            "IM_JWT_SECRET and IM_JWT_SECRET_FILE are for IM_JWT_ALGORITHM=HS256, not for EdDSA",
        ),
        ({"JWKS_URL": "issuer.example/keys"}, "IM_JWT_JWKS_URL: must be a URL"),
        ({"JWKS_URL": "file:///etc/keys"}, "IM_JWT_JWKS_URL: must be a URL"),
        ({"JWKS_URL": "https://"}, "IM_JWT_JWKS_URL: must be a URL"),
        ({"JWKS_URL": "https://user:word@host/keys"}, "IM_JWT_JWKS_URL: must be a URL"),
        ({"ISSUER": ""}, "IM_JWT_ISSUER: "),
        ({"AUDIENCE": ""}, "IM_JWT_AUDIENCE: "),
        ({"LEEWAY_SECONDS": "-1"}, "IM_JWT_LEEWAY_SECONDS: "),
        ({"LEEWAY_SECONDS": "301"}, "IM_JWT_LEEWAY_SECONDS: "),
        ({"MAX_AGE_SECONDS": "0"}, "IM_JWT_MAX_AGE_SECONDS: "),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(
    variables: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong value or combination is an error of one line that names the variable."""
    for name, value in variables.items():
        monkeypatch.setenv(f"IM_JWT_{name}", value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert str(refused.value).startswith(why)
    assert "\n" not in str(refused.value)
    assert "word" not in str(refused.value)


@pytest.mark.parametrize("leeway", ["0", "300"])
def test_a_leeway_within_its_range_is_taken(leeway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of the leeway are accepted."""
    monkeypatch.setenv("IM_JWT_LEEWAY_SECONDS", leeway)
    assert load_settings().jwt_leeway_seconds == int(leeway)
