"""The Elasticsearch indices of a deployment: one for each month of message times, under one alias.

``text`` is a message's original text and is not searched. ``tokens`` is the result of
`backends.search_text.readings_of` for the text; the server only splits ``tokens`` at spaces.
``index_phrases`` indexes every pair of tokens, so that a phrase of two tokens is one look-up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from elasticsearch import (
    ApiError,
    AuthenticationException,
    AuthorizationException,
    Elasticsearch,
    TransportError,
)

from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.number_types import Milliseconds, SeqId
from schemas.settings import Settings

REQUEST_SECONDS: Final = 30.0

LAYOUT: Final = 3
"""Version of the mapping and of the token rule. The layout of an existing index never changes."""

MAPPINGS: Final[dict[str, Any]] = {
    "dynamic": "strict",
    "_meta": {"layout": LAYOUT},
    "properties": {
        "conv_id": {"type": "keyword"},
        "seq": {"type": "long"},
        "sender": {"type": "keyword"},
        "at": {"type": "date", "format": "epoch_millis"},
        "text": {"type": "keyword", "index": False, "doc_values": False},
        "tokens": {
            "type": "text",
            "analyzer": "whitespace",
            "index_phrases": True,
            "norms": False,
        },
    },
}

_LONGEST_CONVERSATION: Final = 512 - len(":") - len(str(1 << 63))
"""Bytes. The server accepts an `_id` of 512 and refuses a whole request for one longer `_id`."""

_SHARDS: Final = 1

_KIND_CHARACTERS: Final = 100
"""Maximum length. A server other than Elasticsearch may put a whole page in place of the kind."""


def index_name(settings: Settings, at: Milliseconds) -> str:
    """The index for an entry: a function of the entry's time (ms), so that a replay finds it."""
    return f"{settings.index_alias}-{datetime.fromtimestamp(at / 1000, UTC):%Y.%m}"


def document_id(conv_id: str, seq: SeqId) -> str:
    """The `_id` of an entry. The hash of the conversation id replaces an id that is too long."""
    name = conv_id.encode()
    if len(name) > _LONGEST_CONVERSATION:
        return f"{hashlib.sha256(name).hexdigest()}:{seq}"
    return f"{conv_id}:{seq}"


def elasticsearch_client(settings: Settings) -> Elasticsearch:
    """A client that does not retry: the caller decides what a failure means."""
    return Elasticsearch(
        settings.elasticsearch_url, request_timeout=REQUEST_SECONDS, max_retries=0
    )


def create_index(client: Elasticsearch, settings: Settings, at: Milliseconds) -> str:
    """Creates the index for entries of the month of ``at`` (ms), unless it exists.

    Raises:
        ConfigurationError: The index exists with another layout, or the credentials are refused.
        ServerUnavailable: Elasticsearch does not answer, or cannot create the index.
    """
    name = index_name(settings, at)
    with clear_failures(settings):
        _create_or_check(client, settings, name)
    return name


@contextmanager
def clear_failures(settings: Settings) -> Iterator[None]:
    """Turns each failure of a request into an error of this project, in one line.

    Raises:
        ConfigurationError: Elasticsearch refuses the credentials.
        ServerUnavailable: Elasticsearch does not answer, or cannot carry out the request.
    """
    try:
        yield
    except (AuthenticationException, AuthorizationException) as error:
        failure = ServerUnavailable if _is_blocked(error) else ConfigurationError
        raise failure(describe(settings, error)) from error
    except (ApiError, TransportError) as error:
        raise ServerUnavailable(describe(settings, error)) from error


def describe(settings: Settings, error: ApiError | TransportError) -> str:
    """One line about a failed request, without passwords and without the response body."""
    where = settings.elasticsearch_url.rpartition("@")[2]
    if not isinstance(error, ApiError):
        return f"Elasticsearch does not answer at {where}"
    if _is_blocked(error):
        return f"Elasticsearch at {where} is blocked ({error.error})"
    if isinstance(error, AuthenticationException | AuthorizationException):
        return (
            f"Elasticsearch at {where} refuses the credentials ({error.status_code}): put a user "
            "and a password into IM_ELASTICSEARCH_URL"
        )
    kind = " ".join(error.error.split())[:_KIND_CHARACTERS]
    return f"Elasticsearch at {where} refuses a request ({error.status_code}, {kind})"


def _is_blocked(error: ApiError) -> bool:
    """Whether an index or the cluster refuses writes. Its status is 403, as for credentials."""
    return isinstance(error, AuthorizationException) and "block" in error.error


def _create_or_check(client: Elasticsearch, settings: Settings, name: str) -> None:
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
        _check_layout(client, name)


def _check_layout(client: Elasticsearch, name: str) -> None:
    mappings = client.indices.get_mapping(index=name)
    if wrong := other_layout(mappings.body):
        raise ConfigurationError(wrong)


def other_layout(mappings: Mapping[str, Any]) -> str | None:
    """The first index with another layout than `LAYOUT`, and what to do; None if all match.

    Args:
        mappings: The mappings by index, as the server returns them.
    """
    for name in sorted(mappings):
        if mappings[name]["mappings"].get("_meta", {}).get("layout") != LAYOUT:
            return (
                f"the index {name} was made by another version (its layout is not {LAYOUT}): "
                f"rebuild the index as docs/search.md says"
            )
    return None
