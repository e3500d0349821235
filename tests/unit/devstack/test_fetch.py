"""Downloads of servers from a repository that answers, is incomplete, or has wrong files."""

from __future__ import annotations

import gc
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import stamina
from jgo.maven import MavenContext

from devstack import artifacts
from devstack.artifacts import Distribution, LockedFile, fetch
from schemas.errors import ConfigurationError, ServerUnavailable

# jgo leaves unread responses open; `gc.collect` reports the resource warnings within this file.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SERVER = Distribution("thing", "1.0", "org.example:thing:1.0")
CONTENT = b"the bytes of a jar"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Suppress the log lines of the server."""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a served Maven repository, with a lock that names one file."""
    folder = tmp_path / "remote"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = {"here": f"http://127.0.0.1:{server.server_port}"}
    monkeypatch.setattr(artifacts, "MavenContext", partial(MavenContext, remote_repos=here))
    file = LockedFile("org.example", "thing", "1.0", "", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(artifacts, "locked_files", lambda _distribution: [file])
    stamina.set_testing(True, attempts=2)
    yield folder
    stamina.set_testing(False)
    server.shutdown()
    server.server_close()
    gc.collect()


def publish(repository: Path, content: bytes) -> None:
    """Write the jar to its path in a Maven repository."""
    folder = repository / "org/example/thing/1.0"
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("thing-1.0.jar").write_bytes(content)


def test_a_server_is_fetched_once(repository: Path, tmp_path: Path) -> None:
    """The second call finds the server on disk and does not need the repository."""
    publish(repository, CONTENT)
    said: list[str] = []
    folder = fetch(SERVER, tmp_path / "servers", said.append)
    assert folder.joinpath("lib/thing-1.0.jar").read_bytes() == CONTENT
    assert said == ["fetched thing 1.0: 1 of 1 files"]
    repository.joinpath("org/example/thing/1.0/thing-1.0.jar").unlink()
    assert fetch(SERVER, tmp_path / "servers", said.append) == folder


def test_an_interrupted_fetch_is_redone(repository: Path, tmp_path: Path) -> None:
    """The partial files of a killed process are replaced by a complete download."""
    publish(repository, CONTENT)
    left = tmp_path / "servers/.thing-1.0.partial/lib"
    left.mkdir(parents=True)
    left.joinpath("half.jar").write_bytes(b"half")
    folder = fetch(SERVER, tmp_path / "servers", lambda _line: None)
    assert [path.name for path in folder.rglob("*.jar")] == ["thing-1.0.jar"]
    assert not left.exists()


def test_a_file_with_another_hash_is_refused(repository: Path, tmp_path: Path) -> None:
    """A file with another SHA-256 is refused, and no server folder is made."""
    publish(repository, b"something else")
    with pytest.raises(ServerUnavailable, match=r"thing 1\.0 .* its SHA-256 is"):
        fetch(SERVER, tmp_path / "servers", lambda _line: None)
    assert not (tmp_path / "servers/thing-1.0").exists()


def test_a_missing_file_is_named(repository: Path, tmp_path: Path) -> None:
    """The error names the file that could not be downloaded."""
    del repository
    with pytest.raises(ServerUnavailable, match=r"thing 1\.0 could not be downloaded"):
        fetch(SERVER, tmp_path / "servers", lambda _line: None)


def test_two_fetches_do_not_mix(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second fetch waits for the first within a bound, then raises an error with the reason."""
    publish(repository, CONTENT)
    monkeypatch.setattr(artifacts, "_LOCK_SECONDS", 0.0)
    folder = tmp_path / "servers"
    folder.mkdir()
    with (
        artifacts._only_one(folder / ".thing.lock"),  # noqa: SLF001 - acts as another process
        pytest.raises(ConfigurationError, match="another process has been fetching"),
    ):
        fetch(SERVER, folder, lambda _line: None)
