"""Finds the Java for the servers: ``python -m devstack.java`` prints its path."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.errors import ConfigurationError

OLDEST: Final = 17
"""The minimum of Elasticsearch."""

NEWEST: Final = 23
"""Cassandra installs a security manager, which Java 24 does not support."""

_ANSWER_SECONDS: Final = 20.0
_VERSION: Final = re.compile(r'version "(?:1\.)?(\d+)')

_INSTALLED: Final = (
    "/usr/lib/jvm/*/bin/java",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home/bin/java",
)


def find_java() -> Path:
    """Return the ``java`` of JAVA_HOME, else of the PATH, else of the usual folders.

    Raises:
        ConfigurationError: None has a supported version; the message states what to install.
    """
    found = []
    for java in _candidates():
        version = java_version(java)
        if version is not None and OLDEST <= version <= NEWEST:
            return java
        found.append(f"Java {version} at {java}" if version else f"nothing that works at {java}")
    raise ConfigurationError(
        f"Kafka, Cassandra and Elasticsearch need a JDK from {OLDEST} to {NEWEST}, and there is "
        f"{', '.join(found) or 'none'}: install one (Debian: apt-get install "
        "openjdk-17-jre-headless) or set JAVA_HOME"
    )


def java_version(java: Path) -> int | None:
    """Return the feature release of a ``java``, such as 17; None if it does not answer."""
    try:
        answer = subprocess.run(  # noqa: S603 - only asks for its version
            [java, "-version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(answer.stderr)
    return int(match.group(1)) if match else None


def java_home(java: Path) -> Path:
    """Return the installation folder of a ``java`` executable."""
    return java.resolve().parent.parent


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if java := shutil.which("java"):
        yield Path(java)
    for pattern in _INSTALLED:
        yield from sorted(Path("/").glob(pattern.removeprefix("/")))


if __name__ == "__main__":
    try:
        print(find_java())  # noqa: T201 - the purpose of the command
    except ConfigurationError as missing:
        sys.exit(str(missing))
