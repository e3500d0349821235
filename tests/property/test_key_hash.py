"""The hash of keys is that of other clients."""

from __future__ import annotations

from aiokafka import partitioner
from hypothesis import given
from hypothesis import strategies as st

from backends.kafka.key_hash import murmur2


@given(st.binary(max_size=100))
def test_the_hash_is_that_of_another_client(key: bytes) -> None:
    """Keys of all lengths have the hash that aiokafka computes."""
    assert murmur2(key) == partitioner.murmur2(key)
