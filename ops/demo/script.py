# ruff: noqa: RUF001 - Chinese text has Chinese punctuation
"""What is said in the demonstration, and by whom."""

from __future__ import annotations

from typing import Final, NamedTuple

PEOPLE: Final = ("alice", "bob", "小明", "丽华", "emma")
"""All of them are in the group; alice makes both conversations."""

MEMBERS: Final = {"chat": ("alice", "小明"), "team": PEOPLE}
"""The people of each conversation, whose owner comes first."""

READERS: Final = {"chat": "小明", "team": "emma"}
"""Who reads each history back: not who wrote most of it."""

QUERY: Final = "咖啡"
SEARCHER: Final = "小明"


class Line(NamedTuple):
    """Somebody says something in a conversation."""

    conversation: str
    sender: str
    text: str
    mentions: tuple[str, ...] = ()


LINES: Final = (
    Line("chat", "alice", "Hi! Shall we have a coffee after work?"),
    Line("chat", "小明", "好啊，六点在楼下的咖啡馆见。"),
    Line("chat", "alice", "Perfect, 六点 it is."),
    Line("team", "bob", "The release candidate is up, please have a look."),
    Line("team", "丽华", "我来测试中文搜索。"),
    Line("team", "emma", "And I check the sync timelines."),
    Line("team", "小明", "先喝咖啡，再发布！"),
    Line("team", "bob", "丽华: two characters are enough to find it now.", ("丽华",)),
    Line("team", "alice", "Great work, everybody. 大家辛苦了！"),
)
