"""Chat logs in the format of `im load`: a real file if available, otherwise made from a seed."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT

_REAL: Final = ROOT.parent / "shared" / "corpus" / "ubuntu-irc.jsonl.gz"
_START: Final = datetime(2020, 1, 1, tzinfo=UTC)
_WORDS: Final = [
    "hello",
    "明天",
    "开会",
    "ok",
    "\uff37\uff49\uff44\uff45",
    "好的",
    "https://x.org/?q=1",
    "",
    "😀",
]


def write_chat(path: Path, lines: int) -> Path:
    """Writes this number of lines: from CHAT_CORPUS, else from the real corpus, else made ones."""
    real = Path(os.environ.get("CHAT_CORPUS", _REAL))
    source = _real_lines(real) if real.exists() else _made_lines()
    path.write_text("".join(itertools.islice(source, lines)), encoding="utf-8")
    return path


def _real_lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from lines


def _made_lines() -> Iterator[str]:
    """Conversations one after the other, with joins, leaves and people who return."""
    rng = random.Random(20200101)
    for conversation in itertools.count():
        for number in range(900):
            kind = rng.choices(["message", "join", "leave"], [10, 1, 0.4])[0]
            line = {
                "conv": f"made-{conversation}",
                "at": (_START + timedelta(seconds=number)).isoformat(),
                "kind": kind,
                "user": f"user {rng.randrange(120)}",
            }
            if kind == "message":
                line["text"] = " ".join(rng.choices(_WORDS, k=3))
            yield json.dumps(line, ensure_ascii=False) + "\n"
