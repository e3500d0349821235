"""Damages to the search index."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from tests.support.audited import System
from tests.support.damage.tools import (
    STRANGER,
    Expected,
    Pick,
    damage,
    of_document,
)


@damage
def _index_loses_a_document(system: System, pick: Pick) -> Expected:
    document = system.documents.pop(pick.index(system.documents))
    return of_document(document, "missing")


@damage
def _index_has_a_document_in_another_place(system: System, pick: Pick) -> Expected:
    at = pick.index(system.documents)
    document = system.documents[at]
    wrong: dict[str, Any] = pick.one(({"index": "messages-0"}, {"id": "c1:0"}, {"routing": None}))
    system.documents[at] = structs.replace(document, **wrong)
    return of_document(document, "misplaced")


@damage
def _index_has_a_document_twice(system: System, pick: Pick) -> Expected:
    document = pick.one(system.documents)
    system.documents.append(document)
    return of_document(document, "double")


@damage
def _index_alters_a_document(system: System, pick: Pick) -> Expected:
    at = pick.index(system.documents)
    document = system.documents[at]
    wrong: dict[str, Any] = pick.one(
        ({"text": "another"}, {"sender": STRANGER}, {"tokens": ["another"]}, {"more": 1})
    )
    source = {**document.source, **wrong}
    system.documents[at] = structs.replace(document, source=source)
    return of_document(document, "altered")


@damage
def _index_loses_the_tokens_of_a_text(system: System, pick: Pick) -> Expected:
    searched = [at for at, found in enumerate(system.documents) if "tokens" in found.source]
    at = pick.one(searched)
    document = system.documents[at]
    source = {name: field for name, field in document.source.items() if name != "tokens"}
    system.documents[at] = structs.replace(document, source=source)
    return of_document(document, "altered")


@damage
def _index_loses_a_field(system: System, pick: Pick) -> Expected:
    at = pick.index(system.documents)
    document = system.documents[at]
    gone = pick.one(("conv_id", "seq", "at"))
    source = {name: field for name, field in document.source.items() if name != gone}
    system.documents[at] = structs.replace(document, source=source)
    return Expected("index", "undecodable")


@damage
def _index_has_a_text_after_its_recall(system: System, pick: Pick) -> Expected:
    recalled = [at for at, found in enumerate(system.documents) if "text" not in found.source]
    at = pick.one(recalled)
    document = system.documents[at]
    source = {**document.source, pick.one(("text", "sender")): "still there"}
    system.documents[at] = structs.replace(document, source=source)
    return of_document(document, "altered")


@damage
def _index_has_another_version(system: System, pick: Pick) -> Expected:
    at = pick.index(system.documents)
    document = system.documents[at]
    system.documents[at] = structs.replace(document, version=document.version + 7)
    return of_document(document, "altered")


@damage
def _index_has_an_entry_that_is_no_message(system: System, pick: Pick) -> Expected:
    document = pick.one(system.documents)
    seq = pick.one((1, 1_000))
    conv_id = document.source["conv_id"]
    source = {**document.source, "seq": seq}
    system.documents.append(structs.replace(document, id=f"{conv_id}:{seq}", source=source))
    return Expected("index", "extra", conv_id, seq)
