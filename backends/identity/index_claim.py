"""The identity of a deployment in Elasticsearch: a document in ``<namespace>-deployment``."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec
from elasticsearch import BadRequestError, ConflictError, Elasticsearch, NotFoundError
from msgspec import Struct, field

from backends.elasticsearch.generations import indices_of, read_generation
from backends.elasticsearch.index import clear_failures, create_index, deployment_index
from backends.elasticsearch.index_checks import check_indices
from backends.identity.claims import compare, require_unread
from schemas.deployment import Deployment
from schemas.errors import ServerUnavailable, TransientFailure
from schemas.number_types import Milliseconds
from schemas.settings import Settings
from schemas.topics import Topic


class _Identity(Struct, frozen=True):
    id: str


class _Found(Struct, frozen=True):
    """Elasticsearch's answer to a request for a document."""

    source: _Identity = field(name="_source")


_DOCUMENT: Final = "deployment"

_SINKS: Final = {"sink-search": Topic.TIMELINE}


def index_id(client: Elasticsearch, settings: Settings) -> str | None:
    """The deployment's id in Elasticsearch; None if there is none.

    Raises:
        ServerUnavailable: Elasticsearch does not answer.
    """
    with clear_failures(settings):
        try:
            response = client.get(index=deployment_index(settings), id=_DOCUMENT)
        except NotFoundError:
            return None
    try:
        return msgspec.convert(response.body, type=_Found).source.id
    except msgspec.ValidationError as error:
        raise ServerUnavailable(
            f"the program at {settings.elasticsearch_url} is not Elasticsearch"
        ) from error


def check_index(client: Elasticsearch, settings: Settings, deployment: Deployment) -> None:
    """Checks that the index belongs to this deployment, and that its alias exists.

    Raises:
        WrongDeployment: The index belongs to another deployment.
        TransientFailure: There is no identity, or no alias: `im prepare` makes both.
        ServerUnavailable: Elasticsearch does not answer.
    """
    compare(f"index {deployment_index(settings)}", index_id(client, settings), deployment)
    with clear_failures(settings):
        if not client.indices.exists_alias(name=settings.index_alias):
            raise TransientFailure(
                f"alias {settings.index_alias} does not exist: `im prepare` puts it back"
            )


def claim_index(
    client: Elasticsearch, settings: Settings, deployment: Deployment, at: Milliseconds
) -> None:
    """Creates the missing indices and alias, and records the identity if there is none.

    Args:
        client: A client.
        settings: The deployment.
        deployment: Its identity.
        at: The current time (ms). An index that is created is the index of this month.

    Raises:
        WrongDeployment: The index is of another deployment, or its data is gone.
        ConfigurationError: An index has another mapping, or too few copies.
        ServerUnavailable: Elasticsearch or Kafka does not answer.
    """
    what = f"index {deployment_index(settings)}"
    claimed = index_id(client, settings)
    if claimed is not None:
        compare(what, claimed, deployment)
    with clear_failures(settings):
        if not client.indices.exists_alias(name=settings.index_alias):
            _put_back_alias(client, settings, deployment, at)
        if claimed is None:
            require_unread(what, settings, _SINKS, deployment)
            _record(client, settings, deployment)
            compare(what, index_id(client, settings), deployment)
    check_indices(client, settings)


def claim_for_rebuild(client: Elasticsearch, settings: Settings, deployment: Deployment) -> None:
    """Records the identity if there is none, also if a sink has stored records before.

    Only for a caller that builds the whole index from the log.

    Raises:
        WrongDeployment: The index is of another deployment.
        ServerUnavailable: Elasticsearch does not answer.
    """
    if index_id(client, settings) is None:
        with clear_failures(settings):
            _record(client, settings, deployment)
    compare(f"index {deployment_index(settings)}", index_id(client, settings), deployment)


def _record(client: Elasticsearch, settings: Settings, deployment: Deployment) -> None:
    """Writes the document, unless another process has written it before."""
    replicas = {"number_of_shards": 1, "number_of_replicas": settings.replication - 1}
    try:
        client.indices.create(index=deployment_index(settings), settings=replicas)
    except BadRequestError as error:
        if error.error != "resource_already_exists_exception":
            raise
    with suppress(ConflictError):
        client.create(
            index=deployment_index(settings), id=_DOCUMENT, document={"id": deployment.id}
        )


def _put_back_alias(
    client: Elasticsearch, settings: Settings, deployment: Deployment, at: Milliseconds
) -> None:
    current = read_generation(client, settings).state.current
    indices = indices_of(client, settings).get(current)
    if indices:
        client.indices.put_alias(index=sorted(indices), name=settings.index_alias)
        return
    require_unread(f"alias {settings.index_alias}", settings, _SINKS, deployment)
    create_index(client, settings, at, current)
