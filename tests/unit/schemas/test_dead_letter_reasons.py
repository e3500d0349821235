"""The classes of the reasons of dead letters, which are the values of a label."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from schemas.codec import decode_command
from schemas.dead_letters import REASON_CLASSES, WRONG_PARTITION, reason_class
from schemas.errors import UndecodableRecord
from sinks.cassandra.requests import REFUSED_BY_SERVER

ROOT: Final = Path(__file__).parents[3]
ROOMS: Final = ("schemas", "stream_processors", "sinks")
MAKERS: Final = {"UndecodableRecord": 0, "PoisonRecord": 1, "_rejected": 0}
"""The functions that make a reason, with the position of the reason."""

NOT_OF_RECORDS: Final = ("schemas/deployment.py", "schemas/sync_rows.py")
"""Modules whose errors do not become dead letters: identities, and rows of the store."""


def text_of(node: ast.expr) -> str | None:
    """The text of a literal, with ``X`` for each inserted value; None for other expressions."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values):
            return "".join(text_of(each) or "X" for each in values)
    return None


def reasons() -> Iterator[str]:
    """Every reason that the code states as a literal."""
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    for module in modules:
        if str(module.relative_to(ROOT)) in NOT_OF_RECORDS:
            continue
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                at = MAKERS.get(name)
                if at is not None and len(node.args) > at:
                    yield text_of(node.args[at]) or ""


def test_each_reason_in_the_code_has_a_class() -> None:
    """No literal reason falls into the class of unknown reasons."""
    found = [reason for reason in reasons() if reason]
    assert len(found) > 20
    assert [reason for reason in found if reason_class(reason) == "other"] == []


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"[]", b'{"kind": "no"}', b'{"kind": "send_message"}', b"\xff"]
)
def test_the_reasons_of_the_decoder_are_undecodable(value: bytes | None) -> None:
    """The decoder's own messages, which vary, belong to one class."""
    with pytest.raises(UndecodableRecord) as raised:
        decode_command(value)
    assert reason_class(str(raised.value)) == "undecodable"


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (WRONG_PARTITION, "wrong_partition"),
        ("the key is not the conv_id", "wrong_key"),
        ("the value has more than 9 bytes", "too_large"),
        (REFUSED_BY_SERVER, "refused_by_store"),
        ("Elasticsearch refuses the document: mapper_exception", "refused_by_store"),
        ("it cannot be written: ValueError", "defect"),
        ("of a later version", "other"),
    ],
)
def test_a_reason_has_one_of_few_classes(reason: str, name: str) -> None:
    """Each class is one of `REASON_CLASSES`, so the label has few values."""
    assert reason_class(reason) == name
    assert name in REASON_CLASSES
