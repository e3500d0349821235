"""Lists of steps that begin with one group, for the rules of its members."""

from __future__ import annotations

from typing import Final, TypeAlias

from hypothesis import strategies as st

from schemas.ids import uuid7
from schemas.records import AnyCommand, CreateConversation
from tests.support.commands import commands
from tests.support.sequencing import Commit, Crash

Step: TypeAlias = AnyCommand | type[Crash | Commit]

GROUP: Final = CreateConversation(
    conv_id="c1", sender="ann", device_id="d", client_msg_id=uuid7(0, 0), members=["bob", "陈"],
    join="open",
)  # fmt: skip


def steps_of_group(*more: st.SearchStrategy[AnyCommand]) -> st.SearchStrategy[list[Step]]:
    """The creation of `GROUP`, then commands of all kinds, of ``more``, crashes and commits."""
    each: st.SearchStrategy[Step] = st.one_of(commands, *more, st.just(Crash), st.just(Commit))
    return st.lists(each, max_size=60).map(lambda steps: [GROUP, *steps])
