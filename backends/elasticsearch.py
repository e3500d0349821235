"""The Elasticsearch indices of a deployment: one a month of the messages' time, under one alias.

``text`` is a message's text as it was written, and is not searched. ``tokens`` is what
`backends.search_text.readings_of` makes of the text: the server splits it at spaces and changes
nothing. ``index_phrases`` indexes every pair of tokens, so that a run of two is one look-up.
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
from schemas.settings import Settings

REQUEST_SECONDS: Final = 30.0

LAYOUT: Final = 3
"""Number of the mapping and of the rule by which tokens are made. An index has the one it has."""

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
"""Bytes. The server takes an `_id` of 512, and refuses a whole request for a longer one."""

_SHARDS: Final = 1

_KIND_CHARACTERS: Final = 100
"""What else than Elasticsearch answers may put a page where the kind of an error belongs."""


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
        ConfigurationError: The index is there and has another layout, or the credentials are
            refused.
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
    """One line about a failed request. It has no password and nothing of the answer's text."""
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
    """Whether an index or the cluster takes no writes. The status is 403, too."""
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
    """The first index whose layout is another than `LAYOUT`, and what to do; None if all fit.

    Args:
        mappings: The server's answer: by index.
    """
    for name in sorted(mappings):
        if mappings[name]["mappings"].get("_meta", {}).get("layout") != LAYOUT:
            return (
                f"the index {name} was made by another version (its layout is not {LAYOUT}): "
                f"rebuild the index as docs/search.md says"
            )
    return None
