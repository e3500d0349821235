"""The offsets of partitions whose leader changes."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, NamedTuple, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from backends.kafka.partition_ends import PartitionPlace, written_ends
from schemas.number_types import Offset

PLACE = TopicPartition("topic", 0)


class Answer(NamedTuple):
    """The broker's answer for one partition."""

    offset: int


class Admin:
    """Answers with each error in turn, then with the offset 7."""

    def __init__(self, *codes: int) -> None:
        self._errors = [KafkaException(KafkaError(code)) for code in codes]

    def list_offsets(
        self, asked: dict[TopicPartition, Any], **_: Any
    ) -> dict[Any, Future[Answer]]:
        """One future for each partition."""
        answer: Future[Answer] = Future()
        if self._errors:
            answer.set_exception(self._errors.pop(0))
        else:
            answer.set_result(Answer(7))
        return dict.fromkeys(asked, answer)


def ends(*codes: int) -> dict[PartitionPlace, Offset]:
    """The ends that a client reads that meets the errors first."""
    return written_ends(cast(AdminClient, Admin(*codes)), [PLACE], 5.0)


def test_a_request_without_leader_is_repeated() -> None:
    """A new topic whose leaders the client does not know yet is no failure."""
    codes = (
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._NOENT,  # noqa: SLF001  # as in the product
    )

    assert ends(*codes) == {("topic", 0): 7}


def test_another_error_is_raised_at_once() -> None:
    """An error that a repetition does not change is raised."""
    with pytest.raises(KafkaException):
        ends(KafkaError.TOPIC_AUTHORIZATION_FAILED)
