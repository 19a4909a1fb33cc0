"""What is fed, and what must hold whatever is fed: an answer or its named refusal, soon, and in bounded memory."""

import gzip
import io
import pickle
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from consumer.configuration.settings import LimitSettings
from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.packet import PacketReader
from consumer.decoding.stamps import cut_stamps, read_stamp
from consumer.errors import BadAlert, Reason
from model_zoo.preprocess import STAMP_SIDE, Preprocessing
from tests.conftest import ROOT
from tests.fuzz.schemas import packet_of
from tests.support.packets import Packet, blob, fits, night, packed
from tests.support.packets import container as container_of
from tests.support.raw import FastavroReader
from train.data.safe_pickle import PickleError, unpickled

LIMITS = LimitSettings()
PREPROCESSING = Preprocessing()
SOON_S = 1.0
RECORDS = 10_000
"""More in one packet than anyone sends; a block of them is cut off here so that a run goes on to other inputs."""
ALIKE = 50
"""Records of a packet that are compared."""
SAID_BYTES = 5_000
SEEN = ("magpsf", "xpos", "absent")
"""Metadata."""


class TooSlow(AssertionError):  # noqa: N818 - says what was found
    """An input took longer than `SOON_S`."""


def packet(data: bytes) -> None:
    """A message as Kafka gives it, through decoding and stamps."""
    for number, outcome in enumerate(read_alerts(data, LIMITS.packet_bytes)):
        if isinstance(outcome, Alert):
            try:
                pixels = cut_stamps(outcome, PREPROCESSING, LIMITS.stamp_bytes).pixels
            except BadAlert:
                continue
            assert pixels.dtype == np.float32
            assert not np.isinf(pixels).any()
        else:
            assert str(outcome)
            assert outcome.reason is not Reason.DECODER_FAILED, outcome
        if number > RECORDS:
            return


def schema(data: bytes) -> None:
    """A packet of a changed schema: the same the compiled way, the slow way, and when the schema is known."""
    payload, reader = packet_of(data), PacketReader(SEEN)
    found = _told(payload, reader)
    assert found == _told(payload, reader)
    assert found == _told(payload, FastavroReader(SEEN))


def _told(payload: bytes, reader: PacketReader) -> list[str]:
    told = []
    for outcome in islice(read_alerts(payload, LIMITS.packet_bytes, reader), ALIKE):
        if isinstance(outcome, Alert):
            stamps = {name: stamp and bytes(stamp) for name, stamp in outcome.cutouts.items()}
            told.append(repr(replace(outcome, cutouts=stamps)))  # in which NaN equals itself
        else:
            assert outcome.reason is not Reason.DECODER_FAILED, outcome
            told.append(f"{outcome.reason}: {outcome}")
        assert len(told[-1].encode()) < SAID_BYTES
    return told


def stamp(data: bytes) -> None:
    """A cutout's bytes: gzip FITS, or what is given for it."""
    try:
        image = read_stamp(data, LIMITS.stamp_bytes)
    except BadAlert:
        return
    assert image.ndim == 2
    assert max(image.shape) <= STAMP_SIDE


def image(data: bytes) -> None:
    """FITS whose gzip is whole: damage gets past the checksum."""
    stamp(gzip.compress(data, 1))


def unpickler(data: bytes) -> None:
    """A stranger's pickle: arrays and plain containers, or a PickleError."""
    with suppress(PickleError):
        unpickled(io.BytesIO(data), Path("fuzz"))


Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {"packet": packet, "schema": schema, "stamp": stamp, "image": image, "pickle": unpickler}
OURS = tuple(str(ROOT / package) for package in ("consumer", "train"))
CORPUS = Path(__file__).parent / "corpus"
"""Of each target, few inputs that go wherever a million went: drawn from our own seeds alone."""


def corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def timed(target: Target, data: bytes) -> None:
    started = time.thread_time()
    target(data)
    if (took := time.thread_time() - started) > SOON_S:
        raise TooSlow(f"{took:.1f} s for {len(data)} bytes, {data[:40].hex(' ')} …")


Step = tuple[str, int, int]
"""File, line before, line after."""


def steps(target: Target, data: bytes) -> set[Step]:
    """How a target went through our own lines for an input."""
    found: set[Step] = set()

    def entered(frame: FrameType, *_: object) -> Callable[..., object] | None:
        name, before = frame.f_code.co_filename, 0
        if not name.startswith(OURS):
            return None

        def went(frame: FrameType, *_: object) -> Callable[..., object]:
            nonlocal before
            found.add((name, before, frame.f_lineno))
            before = frame.f_lineno
            return went

        return went

    sys.settrace(entered)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return found


def seeds(name: str) -> list[bytes]:
    """Inputs to begin with: whole ones, for damage to start from."""
    if name == "stamp":
        return [packed(blob(1)), packed(blob(2, side=21)), packed(blob(3, side=65)), packed(blob(1), bitpix=16)]
    if name == "schema":
        return [b"", *(random.Random(number).randbytes(60) for number in range(12))]
    if name == "image":
        return [
            fits(blob(1, side=9)),
            fits(blob(2, side=9), simple=""),
            fits(blob(1), bitpix=16),
            fits(blob(3, side=65)),
        ]
    if name == "pickle":
        return [pickle.dumps(content, protocol) for protocol in range(6) for content in _contents()]
    small: dict[str, bytes | None] = {name: packed(blob(1, side=21)) for name in ("science", "template", "difference")}
    one = Packet(stamps=small, xpos=10.0, ypos=10.0)
    whole = [container_of([one], codec) for codec in ("null", "deflate", "snappy")]
    return [*whole, container_of(night(2, 1)), container_of([one.at(candid=7), one.at(stamps=dict.fromkeys(small))])]


def _contents() -> list[Any]:
    """What the data sets of a classifier are made of."""
    names = np.array(["AGN", "SN"], dtype=object)
    whole = {"Train": {"images": np.ones((2, 3, 3, 3), np.float32), "labels": names, "features": np.eye(2)}}
    return [
        whole,
        [np.float64(2.5), np.int64(1), b"x", (None, True)],
        {"a": [slice(1, 2), {frozenset({1})}], "b": 2**70},
    ]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, cut, doubled or put in."""
    out = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(out) + 1)
        kind = chance.randrange(4)
        if kind == 0 and at < len(out):
            out[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 1:
            out[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 2:
            del out[at : at + chance.randrange(1, 64)]
        else:
            out[at:at] = out[at : at + chance.randrange(1, 64)]
    return bytes(out)
