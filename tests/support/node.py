"""Node, which runs the JavaScript client: the one in Playwright, so that its version is fixed."""

from __future__ import annotations

import asyncio
import json
import subprocess
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, Final

from playwright._impl._driver import compute_driver_executable  # no public name

from tests.support.killing import Killed
from tests.support.processes import ROOT

CLIENT: Final = ROOT / "clients" / "js"
_LINE_BYTES: Final = 1 << 24
_SECONDS: Final = 180.0


def node() -> str:
    """The path of the program."""
    return str(compute_driver_executable()[0])


def run_tests(*files: Path, seconds: float, environment: dict[str, str] | None = None) -> str:
    """Runs tests with ``node --test``, and returns their report. A failed test is an error."""
    command = [node(), "--test", "--test-reporter=spec", *map(str, files)]
    done = subprocess.run(
        command, cwd=CLIENT, env=environment, capture_output=True, text=True, timeout=seconds,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class NodeProcess:
    """A program that answers each line with a line, both JSON. Used on one event loop."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, script: Path) -> NodeProcess:
        """Starts the program."""
        process = await asyncio.create_subprocess_exec(
            node(), script, stdin=PIPE, stdout=PIPE, limit=_LINE_BYTES
        )
        return cls(process)

    async def ask(self, step: str, **given: Any) -> Any:
        """Does one step, and returns its result.

        Raises:
            Killed: The step ended at a write at which the device had to die.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"step": step, **given}).encode() + b"\n")
        async with asyncio.timeout(_SECONDS):
            answer = json.loads(await stdout.readline())
        if answer.get("killed"):
            raise Killed
        assert "error" not in answer, answer["error"]
        return answer["result"]

    async def stop(self) -> None:
        """Ends the program."""
        self._process.kill()
        await self._process.wait()
