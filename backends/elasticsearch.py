"""The Elasticsearch indices of a deployment: one a month of the messages' time, under one alias.

Text is searched exactly as a run of characters: the ``standard`` analyzer makes single tokens of
Han characters and words of the rest, ``index_phrases`` indexes every pair, and a ``match_phrase``
finds any run of them. What differs only in width, case or compatibility form is made equal by
`fold` on both sides; ``folded`` holds that form where it differs from what the analyzer's own
lower-casing makes of ``text``.
"""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import UTC, datetime
from typing import Any, Final

from elasticsearch import ApiError, Elasticsearch, TransportError

from schemas.errors import ServerUnavailable
from schemas.settings import Settings

REQUEST_SECONDS: Final = 30.0

_SEARCHED: Final = {"type": "text", "analyzer": "standard", "index_phrases": True, "norms": False}

MAPPINGS: Final[dict[str, Any]] = {
    "dynamic": "strict",
    "properties": {
        "conv_id": {"type": "keyword"},
        "seq": {"type": "long"},
        "sender": {"type": "keyword"},
        "at": {"type": "date", "format": "epoch_millis"},
        "text": _SEARCHED,
        "folded": _SEARCHED,
    },
}

_LONGEST_CONVERSATION: Final = 512 - len(":") - len(str(1 << 63))
"""Bytes. The server takes an `_id` of 512, and refuses a whole request for a longer one."""

_SHARDS: Final = 1


def fold(text: str) -> str:
    """The form in which texts are compared: compatibility forms, width and case made equal."""
    return unicodedata.normalize("NFKC", text).casefold()


def folded_or_none(text: str) -> str | None:
    """`fold` of a text, or None where the analyzer makes the same of the text itself."""
    folded = fold(text)
    return None if folded == text.lower() else folded


def index_name(settings: Settings, at: int) -> str:
    """The index that holds an entry: a function of its own time (ms), so a replay finds it."""
    return f"{settings.index_alias}-{datetime.fromtimestamp(at / 1000, UTC):%Y.%m}"


def document_id(conv_id: str, seq: int) -> str:
    """The `_id` of an entry. A conversation whose id is too long for one is named by its hash."""
    name = conv_id.encode()
    if len(name) > _LONGEST_CONVERSATION:
        return f"{hashlib.sha256(name).hexdigest()}:{seq}"
    return f"{conv_id}:{seq}"


def elasticsearch_client(settings: Settings) -> Elasticsearch:
    """A client without retries of its own: who calls decides what a failure means."""
    return Elasticsearch(
        settings.elasticsearch_url, request_timeout=REQUEST_SECONDS, max_retries=0
    )


def create_index(client: Elasticsearch, settings: Settings, at: int) -> str:
    """Creates the index for entries of the month of ``at`` (ms), unless it is there.

    Raises:
        ServerUnavailable: Elasticsearch does not answer.
    """
    name = index_name(settings, at)
    try:
        client.indices.create(
            index=name,
            mappings=MAPPINGS,
            settings={
                "number_of_shards": _SHARDS,
                "number_of_replicas": settings.replication - 1,
            },
            aliases={settings.index_alias: {}},
        )
    except ApiError as error:
        if error.error != "resource_already_exists_exception":
            raise
    except TransportError as error:
        raise ServerUnavailable(
            f"Elasticsearch does not answer at {settings.elasticsearch_url}"
        ) from error
    return name
