"""Servers that refuse to run as root run as another user."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from devstack import unprivileged
from devstack.unprivileged import command_prefix
from schemas.errors import ConfigurationError

as_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv"
)


def test_a_user_other_than_root_runs_servers_under_their_own_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without root the command gets no prefix."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command_prefix([], []) == ()


@as_root
def test_a_server_started_by_root_has_another_user_and_owns_its_files(tmp_path: Path) -> None:
    """The server owns its data, also below a folder that is closed to others, such as /root."""
    tmp_path.chmod(0o700)
    data, program = tmp_path / "data", tmp_path / "program"
    data.mkdir()
    program.write_text("as everybody may read it\n")
    prefix = command_prefix(owned=[data], entered=[program])
    script = f'test -r "{program}" && touch "{data}/written" && id -u'
    done = subprocess.run([*prefix, "sh", "-c", script], capture_output=True, check=True)
    assert int(done.stdout) != 0
    assert data.joinpath("written").stat().st_uid == int(done.stdout)


@as_root
def test_a_server_can_write_only_its_own_files(tmp_path: Path) -> None:
    """The server cannot write to the closed folder above its data."""
    tmp_path.chmod(0o700)
    data = tmp_path / "data"
    data.mkdir()
    prefix = command_prefix(owned=[data], entered=[])
    done = subprocess.run([*prefix, "touch", tmp_path / "no"], capture_output=True, check=False)
    assert done.returncode != 0
    assert not (tmp_path / "no").exists()


@as_root
def test_a_folder_without_search_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the capability to pass through, the message names the folder to open."""
    tmp_path.chmod(0o700)
    monkeypatch.setattr(unprivileged, "_bounding_set", lambda: 0)
    with pytest.raises(ConfigurationError, match=r"cannot enter /.*IM_HOME"):
        command_prefix(owned=[], entered=[tmp_path / "program"])
