"""Generations of the index: `im reindex` builds a new one beside the one that is searched.

A generation is a set of indices, one for each month. The alias names the indices of one
generation. The document ``generation`` in ``<namespace>-deployment`` says to which generation the
sink writes. A deployment without the document has generation 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from elasticsearch import ConflictError, Elasticsearch, NotFoundError
from msgspec import Struct, field

from backends.elasticsearch.index import clear_failures, deployment_index, generation_in
from schemas.errors import ConfigurationError
from schemas.settings import Settings

_DOCUMENT: Final = "generation"


class GenerationState(Struct, frozen=True):
    """The generations of a deployment.

    Attributes:
        current: The sink writes to this generation.
        last: The highest number that any generation has had. Numbers are not used again.
        switching: The sink must create no index now: the alias is about to change.
    """

    current: int = 0
    last: int = 0
    switching: bool = False


class StoredState(NamedTuple):
    """A state, and the version of its document for a conditional write; None without document."""

    state: GenerationState
    version: tuple[int, int] | None


class _StateFound(Struct, frozen=True):
    """Elasticsearch's answer to a request for the document."""

    source: GenerationState = field(name="_source")
    seq_no: int = field(name="_seq_no")
    primary_term: int = field(name="_primary_term")


def read_generation(client: Elasticsearch, settings: Settings) -> StoredState:
    """The present state.

    Raises:
        ConfigurationError: Elasticsearch refuses the credentials.
        ServerUnavailable: Elasticsearch does not answer.
    """
    with clear_failures(settings):
        try:
            answer = client.get(index=deployment_index(settings), id=_DOCUMENT)
        except NotFoundError:
            return StoredState(GenerationState(), None)
    found = msgspec.convert(answer.body, type=_StateFound)
    return StoredState(found.source, (found.seq_no, found.primary_term))


def write_generation(
    client: Elasticsearch, settings: Settings, state: GenerationState, before: StoredState
) -> StoredState:
    """Replaces the state ``before``.

    Raises:
        ConfigurationError: The state was changed meanwhile: another `im reindex` is running.
        ServerUnavailable: Elasticsearch does not answer.
    """
    document = msgspec.to_builtins(state)
    index = deployment_index(settings)
    with clear_failures(settings):
        try:
            if before.version is None:
                answer = client.create(index=index, id=_DOCUMENT, document=document)
            else:
                seq_no, term = before.version
                answer = client.index(
                    index=index, id=_DOCUMENT, document=document,
                    if_seq_no=seq_no, if_primary_term=term,
                )  # fmt: skip
        except ConflictError:
            raise ConfigurationError(
                "another `im reindex` has begun: wait for its end, or run the command again"
            ) from None
    return StoredState(state, (answer["_seq_no"], answer["_primary_term"]))


def indices_of(client: Elasticsearch, settings: Settings) -> dict[int, dict[str, Any]]:
    """The existing indices of messages by generation, each with the server's description.

    Raises:
        ConfigurationError: Elasticsearch refuses the credentials.
        ServerUnavailable: Elasticsearch does not answer.
    """
    pattern = f"{settings.index_alias}-*"
    with clear_failures(settings):
        found = client.indices.get(index=pattern, allow_no_indices=True).body
    return _by_generation(settings, found)


def searched_indices(client: Elasticsearch, settings: Settings) -> dict[int, list[str]]:
    """The indices that the alias names, by generation.

    Raises:
        ConfigurationError: Elasticsearch refuses the credentials.
        ServerUnavailable: Elasticsearch does not answer.
    """
    with clear_failures(settings):
        try:
            found = client.indices.get_alias(name=settings.index_alias).body
        except NotFoundError:
            return {}
    return {number: sorted(of_one) for number, of_one in _by_generation(settings, found).items()}


def _by_generation(settings: Settings, found: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    by_number: dict[int, dict[str, Any]] = {}
    for name, described in found.items():
        number = generation_in(settings, name)
        if number is not None:
            by_number.setdefault(number, {})[name] = described
    return by_number
