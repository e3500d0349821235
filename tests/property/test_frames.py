"""The check of WebSocket frames, with any frames cut into any pieces."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.http.frames import FRAMES_A_SECOND, MAX_FRAMES, Frames
from tests.support.peers import frame

CONTROL = st.builds(frame, st.sampled_from([8, 9, 10]), st.binary(max_size=125))
LENGTHS = st.sampled_from([1, 2, 125, 126, 127, 1_000, 65_535])
TEXTS = st.builds(lambda length: frame(1, b"x" * length), LENGTHS)
FORBIDDEN = st.one_of(
    st.builds(frame, st.sampled_from([0, 2]), st.binary(max_size=300), fin=st.booleans()),
    st.binary(max_size=300).map(lambda payload: frame(1, payload, fin=False)),
    st.just(frame(1)),
    st.just(frame(1, b"x" * 65_536)),
)
"""Fragments, binary data, empty and long texts."""


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut the data into pieces."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@given(
    st.lists(CONTROL, max_size=MAX_FRAMES + 8),
    st.lists(TEXTS, max_size=3),
    st.none() | FORBIDDEN,
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 300_000), max_size=20),
)
def test_only_texts_and_control_frames_pass(
    control: list[bytes], texts: list[bytes], data: bytes | None, random: Random, cuts: list[int]
) -> None:
    """Texts and a few control frames pass, with any cuts; no other frame passes."""
    allowed = [*control, *texts]
    random.shuffle(allowed)
    sent = b"".join(allowed) + (data or b"")
    frames = Frames(clock=lambda: 0.0)
    passed = all(frames.allow(piece) for piece in pieces(sent, cuts))
    assert passed == (data is None and len(control) <= MAX_FRAMES)


@given(st.lists(st.floats(0, 120), max_size=80))
def test_frames_are_counted_by_time(pauses: list[float]) -> None:
    """In any period at most `MAX_FRAMES` pass, and one more for each second."""
    now = 0.0
    frames = Frames(clock=lambda: now)
    for count, pause in enumerate(pauses, start=1):
        now += pause
        if not frames.allow(frame(9)):
            return
        assert count <= MAX_FRAMES + now * FRAMES_A_SECOND + 1e-6


def test_a_client_that_pings_at_a_usual_rate_is_never_closed() -> None:
    """A client with a ping and a pong every 20 seconds stays connected for a day."""
    now = 0.0
    frames = Frames(clock=lambda: now)
    for _ in range(24 * 180):
        now += 20.0
        assert frames.allow(frame(9, b"x") + frame(10))


@given(st.integers(126, 127))
def test_a_long_control_frame_is_refused(length: int) -> None:
    """A control frame has at most 125 bytes, so a longer one is refused."""
    assert not Frames(clock=lambda: 0.0).allow(bytes([0x89, 0x80 | length]))
