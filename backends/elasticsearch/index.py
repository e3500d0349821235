"""The Elasticsearch indices of a deployment: one for each month of message times, under one alias.

The first indices are named ``im-message-2026.11``; those of a later generation (`generations`)
``im-message-g3-2026.11``.

``text`` is a message's original text and is not searched. ``tokens`` is the result of
`backends.search_text.readings_of` for the text; the server only splits ``tokens`` at spaces.
``index_phrases`` indexes every pair of tokens, so that a phrase of two tokens is one look-up.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from elastic_transport import TlsError
from elasticsearch import (
    ApiError,
    AuthenticationException,
    AuthorizationException,
    Elasticsearch,
    TransportError,
)

from backends.elasticsearch.search_listener import search_fault
from schemas.errors import AccessRefused, ConfigurationError, ServerUnavailable
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

_MONTH: Final = re.compile(r"(?:g([1-9][0-9]*)-)?[0-9]{4}\.[0-9]{2}", re.ASCII)
"""An index's name without the alias."""

_UNTRUSTED: Final = "certificate verify failed"
"""In the text of an error of TLS, if the server's certificate is wrong."""

_KIND_CHARACTERS: Final = 100
"""Maximum length. A server other than Elasticsearch may put a whole page in place of the kind."""


def index_name(settings: Settings, at: Milliseconds, generation: int = 0) -> str:
    """The index for an entry: a function of the entry's time (ms), so that a replay finds it."""
    which = f"g{generation}-" if generation else ""
    return f"{settings.index_alias}-{which}{datetime.fromtimestamp(at / 1000, UTC):%Y.%m}"


def generation_in(settings: Settings, name: str) -> int | None:
    """The generation of an index by its name; None for a name that `index_name` does not give."""
    of_month = name.removeprefix(f"{settings.index_alias}-")
    match = _MONTH.fullmatch(of_month) if of_month != name else None
    return None if match is None else int(match[1] or 0)


def deployment_index(settings: Settings) -> str:
    """The index with the identity of the deployment and the state of its index."""
    return f"{settings.namespace}-deployment"


def document_id(conv_id: str, seq: SeqId) -> str:
    """The `_id` of an entry. The hash of the conversation id replaces an id that is too long."""
    name = conv_id.encode()
    if len(name) > _LONGEST_CONVERSATION:
        return f"{hashlib.sha256(name).hexdigest()}:{seq}"
    return f"{conv_id}:{seq}"


def client_options(settings: Settings, timeout: float) -> dict[str, Any]:
    """The options of every client: address, TLS, credentials, and no retries.

    Args:
        settings: The deployment.
        timeout: Timeout of a request in seconds.
    """
    options: dict[str, Any] = {
        "hosts": settings.elasticsearch_url,
        "request_timeout": timeout,
        "max_retries": 0,
    }
    if settings.elasticsearch_ca_file is not None:
        options["ca_certs"] = str(settings.elasticsearch_ca_file)
    if api_key := settings.elasticsearch_api_key.get_secret_value():
        options["api_key"] = api_key
    if settings.elasticsearch_user:
        password = settings.elasticsearch_password.get_secret_value()
        options["basic_auth"] = (settings.elasticsearch_user, password)
    return options


def elasticsearch_client(settings: Settings, timeout: float = REQUEST_SECONDS) -> Elasticsearch:
    """A client that does not retry: the caller decides what a failure means."""
    return Elasticsearch(**client_options(settings, timeout))


def create_index(
    client: Elasticsearch,
    settings: Settings,
    at: Milliseconds,
    generation: int = 0,
    *,
    searched: bool = True,
) -> str:
    """Creates the index for entries of the month of ``at`` (ms), unless it exists.

    Args:
        client: A client.
        settings: The deployment.
        at: The time of an entry.
        generation: The generation of the index.
        searched: The alias names a new index.

    Raises:
        ConfigurationError: The index exists with another layout.
        AccessRefused: The credentials are refused, or the certificate is not trusted.
        ServerUnavailable: Elasticsearch does not answer, or cannot create the index.
    """
    name = index_name(settings, at, generation)
    with clear_failures(settings):
        _create_or_check(client, settings, name, searched=searched)
    return name


@contextmanager
def clear_failures(settings: Settings) -> Iterator[None]:
    """Turns each failure of a request into an error of this project, in one line.

    Raises:
        AccessRefused: Elasticsearch refuses the credentials, its certificate is not trusted, or
            one of both sides alone has TLS.
        ServerUnavailable: Elasticsearch does not answer, or cannot carry out the request.
    """
    try:
        yield
    except (ApiError, TransportError) as error:
        if _is_refusal(error):
            raise AccessRefused(describe(settings, error)) from error
        if isinstance(error, TransportError) and (fault := search_fault(settings)):
            raise AccessRefused(fault) from error
        raise ServerUnavailable(describe(settings, error)) from error


def describe(settings: Settings, error: ApiError | TransportError) -> str:
    """One line about a failed request, without secrets and without the response body."""
    where = urlsplit(settings.elasticsearch_url).netloc
    if not isinstance(error, ApiError):
        if _is_refusal(error):
            return (
                f"Elasticsearch at {where} has no certificate that this client trusts: correct"
                " IM_ELASTICSEARCH_CA_FILE, or the name in IM_ELASTICSEARCH_URL"
            )
        return f"Elasticsearch does not answer at {where}"
    if _is_blocked(error):
        return f"Elasticsearch at {where} is blocked ({error.error})"
    if isinstance(error, AuthenticationException):
        return (
            f"Elasticsearch at {where} refuses the credentials ({error.status_code}): correct"
            " IM_ELASTICSEARCH_API_KEY, or IM_ELASTICSEARCH_USER and IM_ELASTICSEARCH_PASSWORD"
        )
    if isinstance(error, AuthorizationException):
        return (
            f"Elasticsearch at {where} does not permit a request ({error.status_code}): `im acl"
            " elasticsearch` has the privileges of each role"
        )
    kind = " ".join(error.error.split())[:_KIND_CHARACTERS]
    return f"Elasticsearch at {where} refuses a request ({error.status_code}, {kind})"


def _is_refusal(error: ApiError | TransportError) -> bool:
    """Whether the server refuses the client, or the client refuses the server's certificate."""
    if isinstance(error, TlsError):
        return _UNTRUSTED in repr(error)  # the text of the error is its kind alone
    return isinstance(error, AuthenticationException | AuthorizationException) and not _is_blocked(
        error
    )


def _is_blocked(error: ApiError) -> bool:
    """Whether an index or the cluster refuses writes. Its status is 403, as for credentials."""
    return isinstance(error, AuthorizationException) and "block" in error.error


def _create_or_check(
    client: Elasticsearch, settings: Settings, name: str, *, searched: bool
) -> None:
    try:
        client.indices.create(
            index=name,
            mappings=MAPPINGS,
            settings={
                "number_of_shards": _SHARDS,
                "number_of_replicas": settings.replication - 1,
            },
            aliases={settings.index_alias: {}} if searched else {},
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
                f"build it again with `im reindex`, see docs/search.md"
            )
    return None
