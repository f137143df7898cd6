"""Frames: any chunking of the bytes gives the same frames; any bytes give frames or ProtocolError."""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opend_si.errors import ProtocolError
from opend_si.wire.framing import HEADER, MAX_BODY_BYTES, Frame, FrameDecoder, encode_frame

FRAMES = st.lists(
    st.builds(
        Frame,
        proto_id=st.integers(0, 2**32 - 1),
        serial=st.integers(0, 2**32 - 1),
        body=st.binary(max_size=300),
    ),
    max_size=5,
)


def decode(*chunks: bytes) -> list[Frame]:
    decoder = FrameDecoder()
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]


@given(FRAMES, st.lists(st.integers(0, 2000), max_size=12))
def test_any_chunking_gives_the_same_frames(frames: list[Frame], cuts: list[int]) -> None:
    data = b"".join(map(encode_frame, frames))
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[first:last] for first, last in itertools.pairwise(places)]
    assert decode(*chunks) == frames


@given(FRAMES)
def test_one_byte_at_a_time_gives_the_same_frames(frames: list[Frame]) -> None:
    data = b"".join(map(encode_frame, frames))
    assert decode(*(data[place : place + 1] for place in range(len(data)))) == frames


@given(st.lists(st.binary(max_size=200)))
def test_any_bytes_give_frames_or_protocol_error(chunks: list[bytes]) -> None:
    try:
        frames = decode(*chunks)
    except ProtocolError:
        return
    assert b"".join(chunks).startswith(b"".join(map(encode_frame, frames)))


@given(FRAMES.filter(bool), st.data())
def test_a_changed_byte_never_gives_another_body(frames: list[Frame], data: st.DataObject) -> None:
    stream = bytearray(b"".join(map(encode_frame, frames)))
    place = data.draw(st.integers(0, len(stream) - 1))
    stream[place] ^= data.draw(st.integers(1, 255))
    try:
        received = decode(bytes(stream))
    except ProtocolError:
        return
    assert [frame.body for frame in received] == [frame.body for frame in frames[: len(received)]]


def header(magic: bytes = b"FT", body_format: int = 0, length: int = 0, body: bytes = b"") -> bytes:
    return HEADER.pack(magic, 3249, body_format, 0, 1, length, hashlib.sha1(body).digest(), bytes(8)) + body


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"H", "FT"),
        (b"FX", "FT"),
        (header(magic=b"TF"), "FT"),
        (header(body_format=1), "body format 1"),
        (header(length=MAX_BODY_BYTES + 1), str(MAX_BODY_BYTES + 1)),
        (header(length=2**32 - 1), str(2**32 - 1)),
        (header(length=1, body=b"a")[:-1] + b"b", "SHA-1"),
    ],
)
def test_what_no_opend_sends_is_named_on_sight(data: bytes, told: str) -> None:
    with pytest.raises(ProtocolError, match=told):
        decode(data)


def test_the_longest_body_passes() -> None:
    frame = Frame(1, 1, bytes(MAX_BODY_BYTES))
    assert decode(encode_frame(frame)) == [frame]


def test_after_an_error_nothing_more_is_given() -> None:
    decoder = FrameDecoder()
    with pytest.raises(ProtocolError):
        list(decoder.feed(b"nonsense"))
    with pytest.raises(ProtocolError):
        list(decoder.feed(encode_frame(Frame(1, 1, b""))))
