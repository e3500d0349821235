"""Runs a server that refuses to run as root as another user."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from schemas.errors import ConfigurationError

_USER: Final = "nobody"
_STATUS: Final = Path("/proc/self/status")

_PASS_THROUGH: Final = {"dac_read_search": 2, "dac_override": 1}
"""Capabilities that let a process enter closed folders, with their bits, weakest first."""


def command_prefix(owned: Iterable[Path], entered: Iterable[Path]) -> tuple[str, ...]:
    """Return a command prefix that drops root; empty if this process is not root.

    Args:
        owned: Folders that the server writes to; their owner becomes the server's user.
        entered: Files and folders that the server reads.

    Raises:
        ConfigurationError: root cannot be dropped; the message states what to change.
    """
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigurationError(
            "Elasticsearch does not run as root: run as another user, or install setpriv "
            "(Debian: apt-get install util-linux)"
        )
    user = pwd.getpwnam(_USER)
    folders = list(owned)
    for folder in folders:
        _change_owner(folder, user.pw_uid, user.pw_gid)
    closed = next(_closed_parents([*folders, *entered]), None)
    return (
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        *(_capability(closed) if closed else ()),
    )


def _change_owner(folder: Path, uid: int, gid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


def _closed_parents(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        for parent in path.resolve().parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                yield parent


def _capability(closed: Path) -> tuple[str, ...]:
    """Return setpriv options that let an ordinary user's process enter folders closed to it."""
    allowed = _bounding_set()
    for name, bit in _PASS_THROUGH.items():
        if allowed >> bit & 1:
            return (
                f"--inh-caps=-all,+{name}",
                f"--ambient-caps=-all,+{name}",
                # Without this, access(2), which Java uses, ignores the capability.
                "--securebits=+no_setuid_fixup",
            )
    raise ConfigurationError(
        f"Elasticsearch does not run as root, and user {_USER} cannot enter {closed}: "
        f"chmod o+x {closed}, or set IM_HOME to a folder elsewhere"
    )


def _bounding_set() -> int:
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(fields["CapBnd"], 16)
