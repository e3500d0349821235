"""Adds leaves to a chat log: each person leaves a conversation after their last line in it.

In many logs hardly anybody leaves, so a conversation grows past the push limit once and then stays
above the limit. When people leave, the number of members goes up and down. With a push limit near
this number, a conversation changes its mode again and again.

    python -m benchmarks.restless FILE > OUT.jsonl
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from ops.load.chat_lines import ChatLine
from ops.load.source import open_log


def restless(path: Path) -> Iterator[ChatLine]:
    """The lines of a log, with a leave after the last line of each person in each conversation."""
    last = {}
    with open_log(path) as log:
        for number, line in enumerate(log):
            last[line.conv, line.user] = number
    with open_log(path) as log:
        for number, line in enumerate(log):
            yield line
            if last[line.conv, line.user] == number:
                yield replace(line, kind="leave", text="")


def main() -> None:
    """Prints the given log with a leave of everybody."""
    encode = msgspec.json.encode
    for line in restless(Path(sys.argv[1])):
        sys.stdout.buffer.write(encode(line) + b"\n")


if __name__ == "__main__":
    main()
