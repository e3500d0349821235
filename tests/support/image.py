"""The Dockerfile without Docker: its instructions, its context, and its build stage in a folder.

``python -m tests.support.image FOLDER`` runs the build stage in an empty folder, as this user.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
ENVIRONMENT: Final = "/opt/im"
"""The folder of the image with the packages."""


class Instruction(NamedTuple):
    """One instruction. ``stage`` counts from 0; -1 is before the first ``FROM``."""

    stage: int
    word: str
    argument: str


def instructions() -> list[Instruction]:
    """Return the instructions of the Dockerfile in their order, without comments."""
    found: list[Instruction] = []
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    kept = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    stage = -1
    for line in "\n".join(kept).replace("\\\n", "").splitlines():
        word, _, argument = line.partition(" ")
        stage += word == "FROM"
        found.append(Instruction(stage, word, " ".join(argument.split())))
    return found


def context_files() -> list[Path]:
    """Return the files that ``COPY . .`` copies, relative to the repository.

    Each line of `.dockerignore` is ``*``, an exception (``!``) or a pattern for all folders.
    """
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    named = [line[1:] for line in lines if line.startswith("!")]
    excluded = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    assert [lines[0], *(f"!{name}" for name in named), *(f"**/{name}" for name in excluded)] == (
        lines
    ), "a line that this function does not understand"
    files = (file for name in named for file in _files(ROOT / name))
    return [
        file.relative_to(ROOT)
        for file in files
        if not any(fnmatch(part, pattern) for part in file.parts for pattern in excluded)
    ]


def _files(path: Path) -> Iterable[Path]:
    return (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def copy_context(target: Path) -> None:
    """Copy the build context to a folder. A link becomes a link, as in the image."""
    for file in context_files():
        if any((ROOT / parent).is_symlink() for parent in file.parents):
            continue
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target / file)
    for link in (path for path in (ROOT / "gateway").rglob("*") if path.is_symlink()):
        (target / link.relative_to(ROOT)).symlink_to(link.readlink())


def build(folder: Path) -> None:
    """Run the build stage below a folder in place of ``/``. ``COPY`` copies the same files.

    Raises:
        subprocess.CalledProcessError: A command of the stage failed.
    """
    work = folder / "build"
    for _, word, argument in (each for each in instructions() if each.stage == 0):
        if word == "COPY" and argument == ". .":
            copy_context(work)
        elif word == "COPY":
            *files, _ = argument.split()
            work.mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copy2(ROOT / file, work / file)
        elif word == "RUN":
            run_step(argument, folder)


def run_step(command: str, folder: Path) -> None:
    """Run the command of a ``RUN`` instruction of the build stage, as `build` does."""
    here = command.replace(ENVIRONMENT, f"{folder}{ENVIRONMENT}")
    subprocess.run(["/bin/sh", "-ec", here], cwd=folder / "build", check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]).absolute())
