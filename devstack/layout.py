"""Where things lie under a stack's folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Layout(NamedTuple):
    """The folders of one stack, all below ``root``."""

    root: Path

    def conf(self, name: str) -> Path:
        """Generated configuration of a server, made if missing."""
        return _made(self.root / "conf" / name)

    def data(self, name: str) -> Path:
        """What a server keeps, made if missing."""
        return _made(self.root / "data" / name)

    @property
    def logs(self) -> Path:
        """One file a process, made if missing."""
        return _made(self.root / "logs")

    @property
    def run(self) -> Path:
        """What tells a running stack from a stopped one, made if missing."""
        return _made(self.root / "run")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
