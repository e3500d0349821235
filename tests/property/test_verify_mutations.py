"""Each field of an entry is checked by a rule or against the command of the entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, structs

from schemas.codec import encode
from schemas.ids import uuid7
from schemas.records import AnyCommand, AnyEntry, TextContent
from tests.property.test_verify import command_lists
from tests.support.audited_building import system_of
from tests.support.damage.tools import STRANGER, entry_of, set_value
from tests.support.sequencing import run
from tests.support.stories import STORY

OTHER: Final[Mapping[str, str]] = {
    "push": "pull", "pull": "push", "open": "invite", "invite": "open",
    "all": "since_join", "since_join": "all",
}  # fmt: skip
NO_RULE: Final = frozenset({"v"})
"""Fields without a rule of the log."""


def _fields(entry: AnyEntry) -> list[str]:
    names = entry.__struct_fields__
    return [n for n in names if n not in NO_RULE and getattr(entry, n) is not UNSET]


def _others(name: str, value: Any) -> list[Any]:
    """Return other values of the same type."""
    if name == "client_msg_id":
        return [uuid7(7, 7), f"{value}x"]
    if isinstance(value, str):
        return [OTHER[value]] if value in OTHER else [STRANGER]
    if isinstance(value, int):
        return [value - 1, value + 1, value + 1_000]
    if isinstance(value, TextContent):
        return [TextContent(text=""), TextContent(text=f"{value.text}!")]
    if isinstance(value, dict):
        return [{}, {user: _another(period) for user, period in value.items()}]
    more = 1 if name == "edits" else STRANGER
    return [[*value, more], *([value[1:]] if value else [])]


def _another(period: int | tuple[int, int]) -> int | tuple[int, int]:
    return period + 1 if isinstance(period, int) else (period[0], period[1] + 1)


@settings(deadline=None, max_examples=150)
@given(command_lists, st.data())
def test_each_mutation_of_a_field_is_reported(more: list[AnyCommand], data: st.DataObject) -> None:
    """A change of one field of one entry is reported for the log or the input alone."""
    system = system_of(run([*STORY, *more]))
    at = data.draw(st.integers(0, len(system.timeline) - 1))
    entry = entry_of(system.timeline[at])
    name = data.draw(st.sampled_from(_fields(entry)))
    other = data.draw(st.sampled_from(_others(name, getattr(entry, name))))
    set_value(system.timeline, at, encode(structs.replace(entry, **{name: other})))

    found = {each.check for each in system.audit().differences}

    assert found & {"log", "input"}, (entry, name, other)
