"""Compares existing indices with the mapping and the settings that the deployment needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from elasticsearch import Elasticsearch

from backends.elasticsearch.index import MAPPINGS, clear_failures, other_layout
from schemas.errors import ConfigurationError
from schemas.settings import Settings


def check_indices(client: Elasticsearch, settings: Settings) -> None:
    """Checks the mapping and the copies of all indices of messages.

    Raises:
        ConfigurationError: An index has another mapping, or fewer copies than required.
        ServerUnavailable: Elasticsearch does not answer.
    """
    pattern = f"{settings.index_alias}-*"
    with clear_failures(settings):
        indices = client.indices.get(index=pattern, allow_no_indices=True).body
    if wrong := other_layout(indices):
        raise ConfigurationError(wrong)
    for name in sorted(indices):
        if faults := [*_mapping_faults(indices[name]), *_copy_faults(indices[name], settings)]:
            raise ConfigurationError(
                f"index {name} has {', '.join(faults)}: see 'What a cluster needs' in"
                " docs/operating.md, or rebuild the index as docs/search.md says"
            )


def _mapping_faults(index: Mapping[str, Any]) -> Iterator[str]:
    mappings = index["mappings"]
    if mappings.get("dynamic") != MAPPINGS["dynamic"]:
        yield f"dynamic={mappings.get('dynamic')} (needs {MAPPINGS['dynamic']})"
    properties = mappings.get("properties", {})
    for field, wanted in MAPPINGS["properties"].items():
        actual = properties.get(field, {})
        for option, value in wanted.items():
            if actual.get(option) != value:
                yield f"{field}.{option}={actual.get(option)} (needs {value})"


def _copy_faults(index: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    copies = int(index["settings"]["index"]["number_of_replicas"]) + 1
    if copies < settings.replication:
        yield f"number_of_replicas={copies - 1} (needs {settings.replication - 1} or more)"
