"""Reading the shape of tables while another process makes them."""

from __future__ import annotations

from typing import Any

from backends.table_checks import found_tables
from schemas.settings import Settings


class GrowingSession:
    """Answers the first query without a table that the second query knows."""

    def __init__(self) -> None:
        self._answers: list[list[tuple[Any, ...]]] = [
            [("message", 0, {"class": "org.apache.SizeTieredCompactionStrategy"})],
            [
                ("message", "conv_id", "partition_key", 0, "none", "text"),
                ("sync", "user_id", "partition_key", 0, "none", "text"),
            ],
        ]

    def execute(self, _query: str, _parameters: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Returns the next answer."""
        return self._answers.pop(0)


def test_a_table_that_is_made_meanwhile_is_not_there_yet() -> None:
    """A column of an unknown table ended the gateway's connection thread with a KeyError."""
    found = found_tables(GrowingSession(), Settings())
    assert list(found) == ["message"]
    assert found["message"].key == [("conv_id", "none")]
