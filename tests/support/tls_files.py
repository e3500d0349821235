"""Certificates of a test: a CA, and files in PEM as the settings name them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

LOCAL: Final = "127.0.0.1"


class TlsFiles:
    """A CA and the files of the certificates that it signs, in a folder of the test.

    Args:
        folder: The folder for the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def identity(self, name: str, key_password: str = "") -> tuple[Path, Path]:
        """The files of a certificate for 127.0.0.1 with this common name, and of its key."""
        made = self._authority.issue_cert(LOCAL, "localhost", common_name=name)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        key.write_bytes(_pkcs8(made.private_key_pem.bytes(), key_password))
        key.chmod(0o600)
        return certificate, key

    def joined(self, name: str) -> Path:
        """One file with a key and its certificate, for Kafka's own settings."""
        certificate, key = self.identity(name)
        both = self.folder / f"{name}.both.pem"
        both.write_bytes(key.read_bytes() + certificate.read_bytes())
        return both


def _pkcs8(key: bytes, password: str) -> bytes:
    """A key in the form that Java reads."""
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    loaded = load_pem_private_key(key, None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
