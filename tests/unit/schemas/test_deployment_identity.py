"""Differences between a recorded deployment and the existing topics."""

from __future__ import annotations

import pytest

from schemas.codec import encode
from schemas.deployment import Deployment, TopicIdentity, decode_deployment
from schemas.errors import UndecodableRecord

TOPICS = {"im.messages": TopicIdentity("a", 8), "im.epochs": TopicIdentity("b", 1)}
DEPLOYMENT = Deployment(id="d1", topics=TOPICS)


def test_additional_topics_are_not_a_difference() -> None:
    """Additional topics, such as those of recipients or of a reshard, are not a difference."""
    assert not list(DEPLOYMENT.differences(TOPICS | {"im.sync-1": TopicIdentity("c", 16)}))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (TopicIdentity("x", 8), "topic im.messages has the id x, deployment d1 was made with a"),
        (TopicIdentity("a", 16), "topic im.messages has 16 partitions, deployment d1 was made"),
        (None, "topic im.messages does not exist, deployment d1 was made with it"),
    ],
)
def test_a_difference_names_the_topic_and_both_values(
    found: TopicIdentity | None, said: str
) -> None:
    """A difference states the expected and the actual value."""
    topics = {name: topic for name, topic in TOPICS.items() if name != "im.messages"}
    if found is not None:
        topics["im.messages"] = found

    (line,) = DEPLOYMENT.differences(topics)

    assert line.startswith(said)


def test_every_difference_is_named() -> None:
    """Each differing topic is reported; without topics, as in a lost cluster, all of them."""
    assert len(list(DEPLOYMENT.differences({}))) == len(TOPICS)


def test_a_record_is_decoded_unchanged() -> None:
    """Decoding an encoded deployment gives the same deployment."""
    assert decode_deployment(encode(DEPLOYMENT)) == DEPLOYMENT


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[" * 1_000, b"\xff", b'{"id":1}'])
def test_a_record_that_is_not_an_identity_is_named(value: bytes | None) -> None:
    """A value that is not an identity is an `UndecodableRecord`."""
    with pytest.raises(UndecodableRecord):
        decode_deployment(value)


def test_two_deployments_of_the_same_topics_differ() -> None:
    """Two deployments with the same topics have different random ids."""
    assert Deployment.made_of(TOPICS).id != Deployment.made_of(TOPICS).id
