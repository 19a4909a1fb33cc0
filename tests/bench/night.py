"""A long night out of few real alerts: looped, with new candids, objectIds and times, and histories of a stated mix."""

import io
import struct
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from consumer.decoding.alert import READER
from consumer.decoding.container import avro_long, read_header

LENGTHS = {1: 0.50, 2: 0.20, 4: 0.15, 10: 0.10, 28: 0.05}
"""Alerts an object → share of objects; the mean is 3.9."""


def usual_packets(folder: Path) -> list[bytes]:
    """The real packets that ZTF's own stream would carry: one record, uncompressed."""
    packets = []
    for name in ("labelled.tar.gz", "unlabelled.tar.gz"):
        with tarfile.open(folder / name) as tar:
            packets += [file.read() for member in tar if (file := tar.extractfile(member))]
    return [packet for packet in packets if read_header(packet).codec == "null"]


def looped(
    packets: Sequence[bytes], alerts: int, seed: int = 1, lengths: dict[int, float] | None = None
) -> Iterator[bytes]:
    """`alerts` packets in time order, each a real one under a new name."""
    random = np.random.default_rng(seed)
    objects = _objects(random, alerts, lengths or LENGTHS)
    fields = [next(READER.read(packet)) for packet in packets]
    for number, one in enumerate(objects):
        source = number % len(packets)
        yield _renamed(packets[source], fields[source], number, int(one))


def _objects(random: np.random.Generator, alerts: int, lengths: dict[int, float]) -> np.ndarray:
    """The object of each alert, shuffled: alerts of one object lie all over the night."""
    shares = np.array(list(lengths.values()))
    drawn = random.choice(list(lengths), size=alerts, p=shares / shares.sum())
    return random.permutation(np.repeat(np.arange(alerts), drawn)[:alerts])


def _renamed(packet: bytes, fields: object, number: int, one: int) -> bytes:
    """Same sizes, other names: candid (9 bytes as Avro writes it), objectId (12 characters), jd."""
    head = read_header(packet).size
    body = packet[head:]
    body = body.replace(avro_long(fields.candid), avro_long(2_000_000_000_000_000_000 + number))
    body = body.replace(fields.objectId.encode(), f"ZTF{one:09d}".encode())
    body = body.replace(struct.pack("<d", fields.jd), struct.pack("<d", 2461000.5 + number * 1e-5), 1)
    return packet[:head] + body


def write_tar(path: Path, packets: Iterator[bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for number, packet in enumerate(packets):
            member = tarfile.TarInfo(f"{number:09d}.avro")
            member.size = len(packet)
            tar.addfile(member, io.BytesIO(packet))
    return path
