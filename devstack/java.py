"""Finds the Java that the servers run on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.errors import ConfigurationError

OLDEST_VERSION: Final = 17
_ANSWER_SECONDS: Final = 20.0
_VERSION: Final = re.compile(r'version "(?:1\.)?(\d+)')


def find_java() -> Path:
    """The ``java`` of JAVA_HOME, or the one on the PATH, that is new enough.

    Raises:
        ConfigurationError: There is none; the message says what to install.
    """
    found = [(java, version) for java in _candidates() if (version := java_version(java))]
    for java, version in found:
        if version >= OLDEST_VERSION:
            return java
    there = f"only Java {found[0][1]} at {found[0][0]}" if found else "none"
    raise ConfigurationError(
        f"Kafka, Cassandra and Elasticsearch need a JDK {OLDEST_VERSION} or newer and there is "
        f"{there}: install one (Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    )


def java_version(java: Path) -> int | None:
    """The feature release of a ``java`` executable, such as 17; None if it does not answer."""
    try:
        answer = subprocess.run(  # noqa: S603 - only asks for its version
            [java, "-version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(answer.stderr)
    return int(match.group(1)) if match else None


def java_home(java: Path) -> Path:
    """The installation that a ``java`` executable belongs to."""
    return java.resolve().parent.parent


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if java := shutil.which("java"):
        yield Path(java)
