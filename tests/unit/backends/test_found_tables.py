"""Reading the schema of tables while another process creates them."""

from __future__ import annotations

from typing import Any

from backends.cassandra.table_checks import found_tables
from schemas.settings import Settings


class GrowingSession:
    """Returns a first answer without a table that the second answer contains."""

    def __init__(self) -> None:
        self._answers: list[list[tuple[Any, ...]]] = [
            [("message", 0, {"class": "org.apache.SizeTieredCompactionStrategy"})],
            [
                ("message", "conv_id", "partition_key", 0, "none", "text"),
                ("sync", "user_id", "partition_key", 0, "none", "text"),
            ],
        ]

    def execute(self, _query: str, _parameters: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Return the next answer."""
        return self._answers.pop(0)


def test_a_table_without_columns_yet_counts_as_missing() -> None:
    """A table created between the two queries is left out, instead of raising a KeyError."""
    found = found_tables(GrowingSession(), Settings())
    assert list(found) == ["message"]
    assert found["message"].key == [("conv_id", "none")]
