"""Compares existing indices with the mapping and the settings that the deployment needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from elasticsearch import Elasticsearch

from backends.elasticsearch.generations import indices_of, read_generation
from backends.elasticsearch.index import MAPPINGS, other_layout
from schemas.errors import ConfigurationError
from schemas.settings import Settings


def check_indices(client: Elasticsearch, settings: Settings) -> None:
    """Checks the mapping and the copies of the indices to which the sink writes.

    Raises:
        ConfigurationError: An index has another mapping, or fewer copies than required.
        ServerUnavailable: Elasticsearch does not answer.
    """
    current = read_generation(client, settings).state.current
    indices = indices_of(client, settings).get(current, {})
    if wrong := other_layout(indices):
        raise ConfigurationError(wrong)
    for name in sorted(indices):
        if faults := [*_mapping_faults(indices[name]), *_copy_faults(indices[name], settings)]:
            raise ConfigurationError(
                f"index {name} has {', '.join(faults)}: see 'Requirements of a cluster' in"
                " docs/operating.md, or build the index again with `im reindex`"
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
