"""The programs that README.md prints."""

from __future__ import annotations

import re
from typing import Final

from tests.support.processes import ROOT

PRINTED_ADDRESS: Final = "http://127.0.0.1:8080"
"""The address of the gateway in the programs: the default."""


def program(language: str, heading: str, address: str) -> str:
    """The one program in a language below a heading, with the address of another gateway."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    [code] = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert PRINTED_ADDRESS in code
    return str(code).replace(PRINTED_ADDRESS, address)
