"""The folders of a stack."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Layout(NamedTuple):
    """The folders of one stack, all below ``root``."""

    root: Path

    def conf(self, name: str) -> Path:
        """Return the configuration folder of a server; create it if missing."""
        return _made(self.root / "conf" / name)

    def data(self, name: str) -> Path:
        """Return the data folder of a server; create it if missing."""
        return _made(self.root / "data" / name)

    @property
    def logs(self) -> Path:
        """The folder of logs, one file for each process; created if missing."""
        return _made(self.root / "logs")

    @property
    def run(self) -> Path:
        """The folder of the pid file and socket of a running stack; created if missing."""
        return _made(self.root / "run")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
