"""The commands of a page of the documentation, run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

OPERATING: Final = Path(__file__).parents[2] / "docs" / "operating.md"
_SECONDS: Final = 300.0


def printed_blocks(page: Path, heading: str) -> list[str]:
    """The blocks of shell commands below a heading, up to the next heading."""
    _, _, below = page.read_text(encoding="utf-8").partition(f"\n{heading}\n")
    section = re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def run_printed(block: str, variables: Mapping[str, str]) -> None:
    """Runs a block with variables of the environment; each command must succeed."""
    done = subprocess.run(
        ["/bin/sh", "-euc", block], env=os.environ | variables, capture_output=True, text=True,
        timeout=_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
