"""The identity of a deployment: a random id, and the topics that it was created with.

Later topics (for a reshard, for recipients) are not part of the identity. The records of
``im.epochs``, a topic of the identity, state which later topics belong to the deployment.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from schemas.errors import UndecodableRecord

WAY_OUT: Final = "see 'Data that does not belong together' in docs/operating.md"

_ID_BYTES: Final = 8


class TopicIdentity(Struct, frozen=True):
    """A topic as Kafka knows it. ``id``: the UUID that Kafka gave it when it was created."""

    id: str
    partitions: int


class Deployment(Struct, frozen=True, kw_only=True):
    """The recorded identity. ``topics``: by full name."""

    id: str
    topics: dict[str, TopicIdentity]

    @staticmethod
    def made_of(topics: Mapping[str, TopicIdentity]) -> Deployment:
        """A new deployment of these topics, with a random id."""
        return Deployment(id=secrets.token_hex(_ID_BYTES), topics=dict(topics))

    def differences(self, found: Mapping[str, TopicIdentity]) -> Iterator[str]:
        """The differences from the found topics, each as one phrase."""
        for name, recorded in self.topics.items():
            there = found.get(name)
            if there is None:
                yield f"topic {name} does not exist, deployment {self.id} was made with it"
            elif there.id != recorded.id:
                yield (
                    f"topic {name} has the id {there.id}, deployment {self.id} was made with"
                    f" {recorded.id}: the topic was deleted and made anew"
                )
            elif there.partitions != recorded.partitions:
                yield (
                    f"topic {name} has {there.partitions} partitions, deployment {self.id} was"
                    f" made with {recorded.partitions}"
                )


_decoder: Final = msgspec.json.Decoder(Deployment)


def decode_deployment(value: bytes | None) -> Deployment:
    """Decodes the value of a record of ``im.deployment``.

    Raises:
        UndecodableRecord: The value is not the identity of a deployment.
    """
    try:
        return _decoder.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UndecodableRecord(f"not the identity of a deployment: {error}") from None
