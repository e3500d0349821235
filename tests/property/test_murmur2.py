"""The hash of keys equals that of the Kafka client, for any bytes."""

from __future__ import annotations

from aiokafka.partitioner import murmur2 as murmur2_of_client
from hypothesis import given
from hypothesis import strategies as st

from backends.murmur2 import murmur2


@given(st.binary(max_size=300))
def test_the_hash_is_that_of_the_client(data: bytes) -> None:
    """The hash equals the client's, for keys with zero to three bytes after whole words."""
    assert murmur2(data) == murmur2_of_client(data) & 0xFFFFFFFF
