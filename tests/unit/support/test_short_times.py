"""A test that expects a success gives it enough time on a machine that stops for some seconds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from tests.support.processes import ROOT

ENOUGH_SECONDS: Final = 10
CALLS: Final = {
    "timeout": 0, "wait_for": 1, "until": 1, "wait_until": 2, "wait_accepted": 0,
    "wait_sequenced": 0, "flush": 0,
}  # fmt: skip
"""Calls that fail after a time, with the place of the time among the arguments."""


def short_waits(tree: ast.AST) -> Iterator[int]:
    """The lines of waits that fail after a few seconds, where no failure is expected."""
    expected = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.With | ast.AsyncWith | ast.Try) and expects_failure(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and id(node) not in expected:
            seconds = seconds_of(node)
            if isinstance(seconds, int | float) and 0 < seconds < ENOUGH_SECONDS:
                yield node.lineno


def expects_failure(node: ast.With | ast.AsyncWith | ast.Try) -> bool:
    """Whether the failure of a wait in this block is an outcome that the test wants."""
    if isinstance(node, ast.Try):
        parts = [each.type for each in node.handlers if each.type is not None]
    else:
        parts = [each.context_expr for each in node.items]
    text = " ".join(map(ast.unparse, parts))
    return any(name in text for name in ("TimeoutError", "NotYet", "PublisherClosed"))


def seconds_of(call: ast.Call) -> object:
    """The literal time of a wait; None for another call."""
    named = {each.arg: each.value for each in call.keywords}
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    place = CALLS.get(name)
    if place is None:
        found = named.get("timeout") if name.startswith("receive") else None
    elif len(call.args) > place:
        found = call.args[place]
    else:
        found = named.get("seconds", named.get("timeout"))
    return found.value if isinstance(found, ast.Constant) else None


def test_no_success_has_a_short_time() -> None:
    """No wait for something that should happen fails within ten seconds."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    found = {str(file): list(short_waits(ast.parse(file.read_text()))) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_a_short_wait_is_found() -> None:
    """The check finds a short wait, unless the test expects the timeout."""
    text = """
async def test():
    async with asyncio.timeout(5):
        await event
    await socket.receive_json(timeout=0.5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(event, 1)
    await until(condition, 20)
"""
    assert list(short_waits(ast.parse(text))) == [3, 5]
