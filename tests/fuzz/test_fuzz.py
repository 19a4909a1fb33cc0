"""In short: damaged packets and stamps, and bombs that the limits must stop before they are unpacked."""

import gzip
import io
import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.stamps import read_stamp
from consumer.errors import BadAlert, Reason
from tests.fuzz.targets import LIMITS, TARGETS, corpus, damaged, seeds, timed
from tests.support.packets import SCHEMA, Packet, blob, fits
from train.data.safe_pickle import PickleError, unpickled

SHORT = settings(max_examples=400)
MEMORY = 600 * 2**20


@pytest.mark.parametrize("name", list(TARGETS))
def test_whole_inputs_are_good_ones(name: str) -> None:
    """Or the damage would start from nothing."""
    for data in seeds(name):
        TARGETS[name](data)
    if name == "packet":
        assert all(isinstance(next(iter(read_alerts(data, LIMITS.packet_bytes))), Alert) for data in seeds(name))


@pytest.mark.parametrize("name", list(TARGETS))
def test_what_a_million_inputs_reached_is_reached_again_and_soon(name: str) -> None:
    kept = corpus(name)
    assert len(kept) >= 3
    for data in kept:
        timed(TARGETS[name], data)


@SHORT
@given(seed=st.integers(0, 2**32), name=st.sampled_from(list(TARGETS)), place=st.integers(0, 3))
def test_damaged_bytes_are_an_alert_or_a_reason_and_soon(seed: int, name: str, place: int) -> None:
    timed(TARGETS[name], damaged(seeds(name)[place], random.Random(seed)))


@SHORT
@given(data=st.binary(max_size=4096), name=st.sampled_from(list(TARGETS)), start=st.sampled_from([b"", b"Obj\x01"]))
def test_any_bytes_are_an_alert_or_a_reason_and_soon(data: bytes, name: str, start: bytes) -> None:
    timed(TARGETS[name], start + data)


def gzip_bomb(size: int = 2**30) -> bytes:
    """Zeros in gzip in gzip's best: a thousandth of their size. Made in pieces, so as not to be the bomb itself."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(bytes(2**20)) for _ in range(size // 2**20)]
    return b"".join([*pieces, packer.flush()])


def deflate_bomb(size: int = 2**30) -> bytes:
    """A container whose one block inflates to `size`."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = b"".join([*(packer.compress(bytes(2**20)) for _ in range(size // 2**20)), packer.flush()])
    return container_with(body, codec="deflate")


def container_with(body: bytes, schema: object = SCHEMA, codec: str = "null") -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(schema), [], codec=codec, sync_marker=b"0123456789abcdef")
    return out.getvalue() + long(1) + long(len(body)) + body + b"0123456789abcdef"


def long(value: int) -> bytes:
    value, out = value << 1, bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def long_array(items: int) -> bytes:
    """A record whose list of previous candidates claims so many."""
    record, body = Packet().record(), io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(SCHEMA), record)
    item = struct.pack("<d", record["candidate"]["jd"] - 1)
    claimed = long(1) + long(1) + item  # branch 1 of the union, then a run of one item
    assert body.getvalue().count(claimed) == 1
    return container_with(body.getvalue().replace(claimed, long(1) + long(items) + item))


def huge_image() -> bytes:
    """A header of four thousand million pixels, over a few that are there."""
    raw = fits(blob(1)).replace(b"                  63", b"               65536")
    return gzip.compress(raw)


PACKETS = {"deflate": (deflate_bomb, Reason.TOO_LARGE), "array": (lambda: long_array(2**40), Reason.CORRUPT)}


@pytest.mark.parametrize(("bomb", "reason"), PACKETS.values(), ids=list(PACKETS))
def test_a_packet_that_claims_gigabytes_is_refused_before_they_are_there(bomb: object, reason: Reason) -> None:
    data = bomb()  # type: ignore[operator]
    tracemalloc.start()
    try:
        [outcome] = read_alerts(data, LIMITS.packet_bytes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(outcome, BadAlert)
    assert outcome.reason is reason
    assert peak < MEMORY


@pytest.mark.parametrize(
    ("bomb", "reason"), [(gzip_bomb, Reason.TOO_LARGE), (huge_image, Reason.STAMP_SHAPE)], ids=["gzip", "pixels"]
)
def test_a_stamp_that_claims_gigabytes_is_refused_before_they_are_there(bomb: object, reason: Reason) -> None:
    data = bomb()  # type: ignore[operator]
    tracemalloc.start()
    try:
        with pytest.raises(BadAlert) as refused:
            read_stamp(data, LIMITS.stamp_bytes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.reason is reason
    assert peak < 8 * LIMITS.stamp_bytes


def pickled(*operations: bytes) -> bytes:
    return b"".join((b"\x80\x04", *operations, b"."))


BUILDER = b"cnumpy.core.multiarray\n"
PICKLES = {
    "array called": b"cnumpy\nndarray\n((I8589934592\nttR",
    "array reconstructed": BUILDER + b"_reconstruct\n(cnumpy\nndarray\n(I8589934592\ntVb\ntR",
    "scalar of 2 GB": BUILDER + b"scalar\n(cnumpy\ndtype\n(VV2000000000\ntRtR",
    "dtype that lies": b"cnumpy\ndtype\n(VO\ntR(K\x03V|\nNN(VsomeK\x01tJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ftb",
    "memo of 2 milliards": b"]r" + struct.pack("<I", 2**31 - 1),
    "frame of 8 GB": b"\x95" + struct.pack("<Q", 2**33) + b"N",
    "bytes of 4 GB": b"\x8e" + struct.pack("<Q", 2**32) + b"abc",
}


@pytest.mark.parametrize("operations", PICKLES.values(), ids=list(PICKLES))
def test_a_pickle_that_claims_gigabytes_is_refused_before_they_are_there(operations: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PickleError):
            unpickled(io.BytesIO(pickled(operations)), Path("bomb"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20
