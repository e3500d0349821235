"""The memory of the sync sink's contacts: ``python -m benchmarks.contact_memory``."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Final

from sinks.contact_reader import MAX_PEOPLE, ContactBook

_LIFETIME: Final = timedelta(days=7)


def _kib(name: str) -> int:
    """A figure of this process's memory."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1])


def main() -> None:
    """Prints the memory of as many people as are remembered, and the seconds of a clean-up."""
    before = _kib("VmRSS")
    book = ContactBook(_LIFETIME)
    now = time.time()
    for number in range(MAX_PEOPLE):
        book.take(b"person-%029d" % number, now + number / MAX_PEOPLE)
    mib = (_kib("VmRSS") - before) / 1024
    began = time.monotonic()
    book.inactive([], now)
    seconds = time.monotonic() - began
    print(f"{len(book):,} people, ids of 36 bytes: {mib:.0f} MiB")
    print(
        f"the clean-up, once in an interval: {seconds:.2f} s, {_kib('VmHWM') // 1024} MiB in all"
    )


if __name__ == "__main__":
    main()
