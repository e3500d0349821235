# ruff: noqa: RUF001 - Chinese text has Chinese punctuation
"""The messages of the demonstration, and their senders."""

from __future__ import annotations

from typing import Final, NamedTuple

PEOPLE: Final = ("alice", "bob", "小明", "丽华", "emma")
"""All of them are members of the group. alice creates both conversations."""

MEMBERS: Final = {"chat": ("alice", "小明"), "team": PEOPLE}
"""The members of each conversation. The first one is the owner."""

READERS: Final = {"chat": "小明", "team": "emma"}
"""The reader of each history: not the person with most messages in it."""

OPERATOR: Final = "operator"
"""The person who may see the pipeline."""

QUERY: Final = "咖啡"
SEARCHER: Final = "小明"


class ScriptLine(NamedTuple):
    """A message of one person in a conversation."""

    conversation: str
    sender: str
    text: str
    mentions: tuple[str, ...] = ()


LINES: Final = (
    ScriptLine("chat", "alice", "Hi! Shall we have a coffee after work?"),
    ScriptLine("chat", "小明", "好啊，六点在楼下的咖啡馆见。"),
    ScriptLine("chat", "alice", "Perfect, 六点 it is."),
    ScriptLine("team", "bob", "The release candidate is up, please have a look."),
    ScriptLine("team", "丽华", "我来测试中文搜索。"),
    ScriptLine("team", "emma", "And I check the sync timelines."),
    ScriptLine("team", "小明", "先喝咖啡，再发布！"),
    ScriptLine("team", "bob", "丽华: two characters are enough to find it now.", ("丽华",)),
    ScriptLine("team", "alice", "Great work, everybody. 大家辛苦了！"),
)
