"""Fetches the servers' artifacts with jgo, and checks each file against a committed hash.

The lists in ``locks/`` were resolved once (see `devstack.lock`), so a fetch needs no resolution,
and every machine runs the same files. A server's folder appears by one rename after a complete
fetch. An interrupted fetch leaves a ``.partial`` folder, which the next fetch removes.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import requests
import stamina
from jgo.maven import MavenContext

from backends.processes.file_lock import file_lock
from devstack.progress import ReportStep
from schemas.errors import ServerUnavailable

_PARALLEL: Final = 8
_STALLED_SECONDS: Final = 30
"""A download that receives nothing for this time is retried."""
_LOCK_SECONDS: Final = 300.0
_ATTEMPTS: Final = 4


class Distribution(NamedTuple):
    """One published server. ``endpoint`` is what to resolve, in jgo's notation."""

    name: str
    version: str
    endpoint: str
    packaging: str = "jar"


KAFKA: Final = Distribution(
    "kafka", "4.1.1", "org.apache.kafka:kafka_2.13:4.1.1+org.slf4j:slf4j-simple:1.7.36"
)
CASSANDRA: Final = Distribution("cassandra", "5.0.8", "org.apache.cassandra:cassandra-all:5.0.8")
ELASTICSEARCH: Final = Distribution(
    "elasticsearch",
    "8.19.8",
    "org.elasticsearch.distribution.integ-test-zip:elasticsearch:8.19.8",
    packaging="zip",
)
DISTRIBUTIONS: Final = (KAFKA, CASSANDRA, ELASTICSEARCH)


class LockedFile(NamedTuple):
    """One artifact and the SHA-256 of its bytes."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str

    @classmethod
    def parse(cls, line: str) -> LockedFile:
        """Parse ``group:artifact:version[:classifier] sha256``."""
        coordinate, sha256 = line.split()
        group, artifact, version, *classifier = coordinate.split(":")
        return cls(group, artifact, version, "".join(classifier), sha256)


def locked_files(distribution: Distribution) -> list[LockedFile]:
    """Return the files of a distribution."""
    text = resources.files("devstack").joinpath("locks", f"{distribution.name}.lock").read_text()
    return [LockedFile.parse(line) for line in text.splitlines() if not line.startswith("#")]


def fetch(distribution: Distribution, folder: Path, report: ReportStep) -> Path:
    """Return the folder of an unpacked server; fetch the server if the folder is missing.

    Args:
        distribution: The server.
        folder: The folder of all fetched servers; several processes may share it.
        report: Receives the progress.

    Raises:
        ServerUnavailable: A file could not be downloaded.
        ConfigurationError: Another process has held the lock of the folder for too long.
    """
    target = folder / f"{distribution.name}-{distribution.version}"
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder / f".{distribution.name}.lock"):
        if not target.is_dir():
            partial = folder / f".{target.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            _fill(distribution, partial, report)
            shutil.rmtree(partial / "repository")
            partial.rename(target)
    return target


def _fill(distribution: Distribution, folder: Path, report: ReportStep) -> None:
    files = locked_files(distribution)
    title = f"{distribution.name} {distribution.version}"
    context = MavenContext(repo_cache=folder / "repository", timeout=_STALLED_SECONDS)
    folder.joinpath("lib").mkdir(parents=True)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        jobs = [pool.submit(_download, context, file, distribution.packaging) for file in files]
        for done, job in enumerate(as_completed(jobs), start=1):
            _keep(job.result(), folder)
            if done % 20 == 0 or done == len(jobs):
                report(f"fetched {title}: {done} of {len(jobs)} files")


def _download(context: MavenContext, file: LockedFile, packaging: str) -> Path:
    component = context.project(file.group, file.artifact).at_version(file.version)
    artifact = component.artifact(file.classifier, packaging)
    name = f"{file.artifact} {file.version}"
    try:
        for attempt in stamina.retry_context(
            on=(OSError, requests.RequestException, RuntimeError), attempts=_ATTEMPTS
        ):
            with attempt:
                return _checked(artifact.resolve(), file.sha256)
    except (OSError, requests.RequestException, RuntimeError) as error:
        raise ServerUnavailable(f"{name} could not be downloaded: {error}") from error
    raise AssertionError("stamina returns or raises")


def _checked(path: Path, sha256: str) -> Path:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.unlink()  # otherwise jgo would reuse the file in every later attempt
        raise OSError(f"its SHA-256 is {found}, not {sha256}")
    return path


def _keep(path: Path, folder: Path) -> None:
    if path.suffix != ".zip":
        path.rename(folder / "lib" / path.name)
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # Strip the archive's own top folder.
            inside = member.filename.partition("/")[2]
            if inside and not member.is_dir():
                member.filename = inside
                archive.extract(member, folder)
    for script in folder.glob("bin/*"):
        script.chmod(0o755)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    held = f"another process has been fetching for {_LOCK_SECONDS:.0f} s: end it, or remove {path}"
    with file_lock(path, held, _LOCK_SECONDS):
        yield
