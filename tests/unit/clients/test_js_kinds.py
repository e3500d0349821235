"""The JavaScript client knows each kind of entry."""

from __future__ import annotations

import re
from typing import get_args

from schemas.records import AnyEntry
from tests.support.node import CLIENT


def test_the_client_knows_each_kind_of_entry() -> None:
    """`ENTRIES` has the kinds of `AnyEntry`: a device ignores an entry of another kind."""
    source = (CLIENT / "src" / "knowledge.js").read_text(encoding="utf-8")
    found = re.search(r"^const ENTRIES = new Set\(\[(.*?)\]\);", source, re.MULTILINE | re.DOTALL)
    assert found is not None
    kinds = {kind.__struct_config__.tag for kind in get_args(AnyEntry)}
    assert set(re.findall(r'"(\w+)"', found[1])) == kinds
