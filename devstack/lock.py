"""Resolves the files of each server and writes ``locks/``: ``python -m devstack.lock``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import jgo
from jgo.maven import Artifact, MavenContext

from devstack.artifacts import DISTRIBUTIONS, Distribution

_HEADER = "# Written by `make lock`: coordinate, SHA-256.\n"


def write_lock(distribution: Distribution, folder: Path) -> None:
    """Resolve a distribution, download it, and write the list of its files with hashes."""
    lines = sorted({_line(artifact) for artifact in _artifacts(distribution)})
    folder.joinpath(f"{distribution.name}.lock").write_text(_HEADER + "\n".join(lines) + "\n")


def _artifacts(distribution: Distribution) -> list[Artifact]:
    if distribution.packaging == "jar":
        found = jgo.resolve(distribution.endpoint)
        return [artifact for artifact in found if artifact.packaging == "jar"]
    group, name, version = distribution.endpoint.split(":")
    component = MavenContext().project(group, name).at_version(version)
    return [component.artifact(packaging=distribution.packaging)]


def _line(artifact: Artifact) -> str:
    with artifact.resolve().open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    coordinate = [artifact.groupId, artifact.artifactId, artifact.version, artifact.classifier]
    return f"{':'.join(coordinate).rstrip(':')} {sha256}"


if __name__ == "__main__":
    for each in DISTRIBUTIONS:
        write_lock(each, Path(__file__).parent / "locks")
