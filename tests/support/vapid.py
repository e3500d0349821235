"""Keys of Web Push."""

from __future__ import annotations

from py_vapid import Vapid02


def new_vapid() -> Vapid02:
    """A new key of a deployment."""
    key = Vapid02()
    key.generate_keys()
    return key


def vapid_pem(key: Vapid02 | None = None) -> str:
    """The private key as PEM; by default of a new key."""
    text: bytes = (new_vapid() if key is None else key).private_pem()
    return text.decode()
