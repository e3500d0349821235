"""Read a chat log line by line, plain or gzip, with bounded memory."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Final

from ops.load.chat_lines import ChatLine, parse_line
from schemas.errors import ConfigurationError, InvalidLine

MAX_INPUT_LINE_BYTES: Final = 1024 * 1024
"""Maximum length of a line. The longest text that a deployment may allow is 64 KB."""

_GZIP_MAGIC: Final = b"\x1f\x8b"


class LogFile:
    """A chat log that is open for reading.

    Attributes:
        size: Size of the file in bytes.
        lines: Lines read so far, empty ones included.
    """

    def __init__(self, file: BufferedReader, size: int) -> None:
        self._file = file
        self.size = size
        self.lines = 0

    @property
    def read_bytes(self) -> int:
        """Position in the file. The reader buffers, so this is a little ahead of the lines."""
        return self._file.tell()

    def __iter__(self) -> Iterator[ChatLine]:
        """The lines in order.

        Raises:
            InvalidLine: A line does not have the format, or the file is damaged.
        """
        try:
            yield from self._parsed()
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidLine(f"the file is damaged after line {self.lines}: {error}") from error

    def _parsed(self) -> Iterator[ChatLine]:
        is_packed = self._file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
        stream: BufferedIOBase = gzip.open(self._file) if is_packed else self._file  # noqa: SIM115 - closed with the file
        while raw := stream.readline(MAX_INPUT_LINE_BYTES + 1):
            self.lines += 1
            if self.lines == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if len(raw) > MAX_INPUT_LINE_BYTES:
                raise InvalidLine(f"line {self.lines}: longer than {MAX_INPUT_LINE_BYTES} bytes")
            if not raw.isspace():
                yield parse_line(raw, self.lines)


@contextmanager
def open_log(path: Path) -> Iterator[LogFile]:
    """Open a chat log, plain or gzip.

    Raises:
        ConfigurationError: The file cannot be opened, or its name ends with ``.gz`` and the file
            is not in gzip format.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        if path.suffix == ".gz" and not file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC):
            raise ConfigurationError(f"{path} is not a gzip file, although its name ends with .gz")
        yield LogFile(file, path.stat().st_size)
