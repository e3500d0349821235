"""A table of byte strings by id that takes little memory for each of them.

A Python object takes 33 bytes in addition to its content, and a dictionary some 35 bytes for each
key. So the table packs ids and values into *cells*: a cell is one byte string with the ids and
values of some `IN_A_CELL` entries. Each call searches one cell.

The number of cells grows by linear hashing (W. Litwin, "Linear hashing: a new tool for file and
table addressing", VLDB 1980): each step moves entries from one cell to one new cell, so no call
moves the entries of the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

IN_A_CELL: Final = 4
"""Entries in a cell on average. More entries save little memory, and each change copies a cell."""

MAX_IN_CELL: Final = 2_048
"""Bytes of the largest value in a cell. A larger value has an object of its own, because each use
of its neighbours would copy it."""

_HEADER: Final = Struct("<HH")
"""The lengths of the id and of the value of an entry, in bytes."""

_lengths: Final = _HEADER.unpack_from


class IdleTable:
    """Byte strings by id.

    Args:
        expected: The number of entries for which the table has cells at its creation.

    Attributes:
        count: The number of entries.
        size: The bytes of all values.
    """

    __slots__ = ("_cells", "_large", "_mask", "count", "size")

    def __init__(self, expected: int = 0) -> None:
        self.count = self.size = 0
        self._cells = [b""] * max(1, expected // IN_A_CELL)
        self._mask = _mask_of(self._cells)
        self._large: dict[bytes, bytes] = {}

    def add(self, key: bytes, value: bytes) -> None:
        """Adds an entry.

        Args:
            key: An id that the table does not have, of at most 65,535 bytes.
            value: Any bytes.
        """
        self.count += 1
        self.size += len(value)
        if len(value) > MAX_IN_CELL:
            self._large[key] = value
            return
        self._cells[self._place(key)] += _HEADER.pack(len(key), len(value)) + key + value
        if self.count > IN_A_CELL * len(self._cells):
            self._split()

    def take(self, key: bytes) -> bytes | None:
        """Removes the entry of an id, and returns its value; None if there is no entry."""
        value = self._large.pop(key, None)
        if value is None:
            value = self._take_from_cell(key)
        if value is not None:
            self.count -= 1
            self.size -= len(value)
        return value

    def _take_from_cell(self, key: bytes) -> bytes | None:
        place = self._place(key)
        cell, begin = self._cells[place], 0
        while begin < len(cell):  # without `_entries`, which would double the time
            key_length, value_length = _lengths(cell, begin)
            key_begin = begin + _HEADER.size
            value_begin = key_begin + key_length
            end = value_begin + value_length
            if key_length == len(key) and cell.startswith(key, key_begin):
                self._cells[place] = cell[:begin] + cell[end:]
                return cell[value_begin:end]
            begin = end
        return None

    def _place(self, key: bytes) -> int:
        """The cell of an id. The cells above the highest power of two are a part of the next."""
        place = hash(key) & self._mask
        return place if place < len(self._cells) else place & self._mask >> 1

    def _split(self) -> None:
        """Adds a cell, and moves to it the entries that now belong there."""
        cells = self._cells
        place = len(cells) & self._mask >> 1
        cell, cells[place] = cells[place], b""
        cells.append(b"")
        self._mask = _mask_of(cells)
        for begin, key_begin, value_begin, end in _entries(cell):
            cells[self._place(cell[key_begin:value_begin])] += cell[begin:end]


def _mask_of(cells: list[bytes]) -> int:
    """The lowest bits of a hash that are above the number of cells, at most twice as high."""
    return (1 << len(cells).bit_length()) - 1


def _entries(cell: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each entry of a cell: the begin, the begin of the id, the begin of the value, the end."""
    begin = 0
    while begin < len(cell):
        key_length, value_length = _lengths(cell, begin)
        key_begin = begin + _HEADER.size
        value_begin = key_begin + key_length
        end = value_begin + value_length
        yield begin, key_begin, value_begin, end
        begin = end
