"""A chat log from which everybody leaves."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.restless import restless

SAID = [("c1", "ann"), ("c1", "bob"), ("c2", "ann"), ("c1", "ann"), ("c1", "cy")]


def test_each_person_leaves_after_their_last_line(tmp_path: Path) -> None:
    """A person leaves each conversation once, after their last line; no line is lost."""
    lines = [
        {"conv": conv, "at": "2004-11-15T02:38:00Z", "kind": "message", "user": user, "text": "hi"}
        for conv, user in SAID
    ]
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = [(line.conv, line.user, line.kind) for line in restless(path)]
    assert [(conv, user) for conv, user, kind in found if kind == "message"] == SAID
    assert found == [
        ("c1", "ann", "message"),
        ("c1", "bob", "message"),
        ("c1", "bob", "leave"),
        ("c2", "ann", "message"),
        ("c2", "ann", "leave"),
        ("c1", "ann", "message"),
        ("c1", "ann", "leave"),
        ("c1", "cy", "message"),
        ("c1", "cy", "leave"),
    ]
