"""The Dockerfile: pinned, without tools in the final image, and for a user without rights.

``python -m tests.support.image FOLDER`` runs the whole build stage, which downloads all packages.
The tests here run the steps that need no network.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devstack.unprivileged import command_prefix
from tests.support.image import ROOT, context_files, copy_context, instructions, run_step
from tests.unit.documents.test_names import PACKAGES

INSTRUCTIONS: Final = instructions()
FINAL: Final = max(each.stage for each in INSTRUCTIONS)
BASE: Final = re.compile(r"PYTHON_IMAGE=python:(\d+\.\d+)\.\d+-slim-\w+@sha256:[0-9a-f]{64}")
LOCK: Final = re.compile(r"^([\w.-]+)==(\S+).*\\\n((?:    --hash=.+\n?)+)", re.MULTILINE)


def arguments_of(word: str, stage: int = FINAL) -> list[str]:
    """Return the arguments of all instructions of one kind in a stage."""
    return [each.argument for each in INSTRUCTIONS if (each.stage, each.word) == (stage, word)]


def locked(file: str) -> dict[str, tuple[str, str]]:
    """Return version and hashes of each package of a lock file."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return {
        canonicalize_name(name): (version, hashes) for name, version, hashes in LOCK.findall(text)
    }


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> set[str]:
    """Return an installed distribution with all that it needs here, by its metadata."""
    if (name, extras) in seen:
        return set()
    seen.add((name, extras))
    found = {name}
    for text in requires(name) or ():
        each = Requirement(text)
        environments = [{"extra": extra} for extra in ("", *extras)]
        if each.marker is None or any(map(each.marker.evaluate, environments)):
            found |= needed(canonicalize_name(each.name), frozenset(each.extras), seen)
    return found


def test_the_base_is_pinned_by_version_and_digest() -> None:
    """Both stages have one base: an exact version of a Python that the project supports."""
    (base,) = arguments_of("ARG", -1)
    assert (match := BASE.fullmatch(base))
    assert match[1] == "3.11"
    assert [arguments_of("FROM", stage) for stage in range(FINAL + 1)] == [
        ["${PYTHON_IMAGE} AS build"],
        ["${PYTHON_IMAGE}"],
    ]


def test_each_package_has_a_hash() -> None:
    """Each installation checks hashes, except that of the project's own wheel alone."""
    installs = [each for each in arguments_of("RUN", 0) if " install " in each]
    own = [each for each in installs if "--require-hashes" not in each]

    assert len(installs) == 3
    assert len(own) == 1
    assert own[0].endswith("install --no-deps dist/*.whl")


def test_the_final_image_installs_nothing() -> None:
    """The final stage removes the installer, installs nothing, and copies the packages alone."""
    removal, folders = arguments_of("RUN")
    assert removal.startswith("pip uninstall --yes ")
    assert {"pip", "setuptools", "wheel"} <= set(removal.split())
    assert folders.startswith("install --directory --owner=10001 ")
    assert arguments_of("COPY") == ["--from=build /opt/im /opt/im"]
    assert not arguments_of("ADD")
    assert not [
        each for each in arguments_of("ENV") if re.search(r"SECRET|PASSWORD|TOKEN|KEY", each)
    ]


def test_the_process_has_a_user_without_rights() -> None:
    """The user is a number other than 0, set after the last step that needs rights."""
    words = [each.word for each in INSTRUCTIONS if each.stage == FINAL]
    (user,) = arguments_of("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert "RUN" not in words[words.index("USER") :]
    assert arguments_of("STOPSIGNAL") == ["SIGTERM"]


def test_only_the_volumes_are_written() -> None:
    """The home of the processes is a volume, so all other files may be read-only."""
    (environment,) = arguments_of("ENV")
    (volumes,) = arguments_of("VOLUME")
    assert "IM_HOME=/var/lib/im" in environment.split()
    assert "PYTHONDONTWRITEBYTECODE=1" in environment.split()
    assert '"/var/lib/im"' in volumes


def test_the_context_has_the_product_alone() -> None:
    """The context has each package and both lock files; no tests, documents or data."""
    files = {str(file) for file in context_files()}
    assert {"README.md", "LICENSE", "requirements.lock", "requirements.image.lock"} <= files
    assert not [package for package in PACKAGES if f"{package}/__init__.py" not in files]
    for name in ("tests", "docs", "benchmarks", ".im", ".git", ".venv"):
        assert not [file for file in files if file.split("/")[0] == name]


def test_the_lock_of_the_image_is_a_part_of_the_lock() -> None:
    """The image has the versions and hashes with which the tests run."""
    image, everything = locked("requirements.image.lock"), locked("requirements.lock")
    assert len(image) > 50
    assert {name: each for name, each in image.items() if everything.get(name) != each} == {}, (
        "run the last command of `make lock`"
    )


def test_the_lock_of_the_image_has_what_the_processes_need() -> None:
    """The lock has all that the dependencies of the project need, and no tool of developers."""
    image = locked("requirements.image.lock")
    wanted = needed("im-timeline", frozenset(), set()) - {"im-timeline"}
    assert len(wanted) > 50
    assert wanted - image.keys() == set(), "run the last command of `make lock`"
    assert image.keys() & {"pytest", "mypy", "ruff", "hatchling", "playwright", "pip"} == set()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project's wheel, made by the Dockerfile's command from its context."""
    folder = tmp_path_factory.mktemp("image")
    copy_context(folder / "build")
    (folder / "build" / "tools").symlink_to(sys.prefix)
    (command,) = [each for each in arguments_of("RUN", 0) if "hatchling" in each]
    run_step(command, folder)
    (wheel,) = (folder / "build" / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_has_each_file_of_the_packages(installed: Path) -> None:
    """The wheel has each module, template, page and schema of the repository."""
    kept = [file for file in context_files() if any(map(str(file).startswith, PACKAGES))]
    names = {str(file).removeprefix("clients/python/src/") for file in kept}
    found = {str(file.relative_to(installed)) for file in installed.rglob("*") if file.is_file()}

    assert len(names) > 400
    assert names - found == set()
    assert "gateway/page/client/im-timeline.js" in found


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "from ops.cli import main; main()", "status"],
        ["-m", "sinks", "message"],
        ["-m", "gateway"],
        ["-m", "stream_processors"],
    ],
    ids=["im", "sinks", "gateway", "stream_processors"],
)
def test_a_process_starts_as_nobody(installed: Path, tmp_path: Path, arguments: list[str]) -> None:
    """A user without rights, without a home and with read-only code reaches the settings.

    The unknown setting is refused after all imports, so the test needs no server.
    """
    for path in (installed, *installed.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = subprocess.run(
        [
            *command_prefix([tmp_path], [installed, Path(sys.executable)]),
            sys.executable,
            *arguments,
        ],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(installed),
            "PYTHONDONTWRITEBYTECODE": "1",
            "IM_HOME": str(tmp_path / "home"),
            "IM_WRONG": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "IM_WRONG is not a setting" in done.stderr
    assert done.returncode != 0
