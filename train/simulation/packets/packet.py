"""Avro packets: ZTF's writer schemas, containers of one record as they travel through Kafka, and stamps.

A stamp is a gzip of a FITS file with one header block, 63×63 pixels unless a border cuts it.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from isal import igzip_lib

from model_zoo.preprocess import STAMP_SIDE
from train.simulation.packets.avro import Encoder, binary, compile_schema, long
from train.simulation.random import Pixels
from train.simulation.survey import QUADRANT_COLUMNS, QUADRANT_ROWS

BLOCK_BYTES = 2880
# magic, deflate, no flags, no time (so that equal pixels give equal bytes), best compression, Unix
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03"
GZIP_LEVEL = 1


def _card(text: str) -> bytes:
    return text.ljust(80).encode("ascii")


def fits_header(columns: int, rows: int) -> bytes:
    """ZTF's header block; its SIMPLE card is off-standard, and readers must bear it."""
    cards = [
        "SIMPLE  =  T", "BITPIX  =                  -32", "NAXIS   =                    2",
        f"NAXIS1  = {columns:20d}", f"NAXIS2  = {rows:20d}", "BUNIT   = 'DN      '", "END",
    ]  # fmt: skip
    return b"".join(_card(card) for card in cards).ljust(BLOCK_BYTES)


def pack_stamp(image: Pixels) -> bytes:
    """The gzip-compressed FITS file of an image [row, column], float32 big-endian, padded to whole blocks."""
    data = np.ascontiguousarray(image, dtype=">f4").tobytes()
    padding = bytes(-len(data) % BLOCK_BYTES)
    rows, columns = image.shape
    whole = fits_header(columns, rows) + data + padding
    compressed: bytes = igzip_lib.compress(whole, GZIP_LEVEL, igzip_lib.COMP_GZIP)
    return GZIP_HEADER + compressed[len(GZIP_HEADER) :]


def border_cut(column: float, row: float) -> tuple[slice, slice]:
    """(rows, columns) of a full stamp that lie on the quadrant, for a source at pixel (column, row) counted from 1."""
    cuts = []
    for place, size in ((row, QUADRANT_ROWS), (column, QUADRANT_COLUMNS)):
        centre = int(np.floor(place + 0.5))
        before, after = min(STAMP_SIDE // 2, centre - 1), min(STAMP_SIDE // 2, size - centre)
        cuts.append(slice(STAMP_SIDE // 2 - before, STAMP_SIDE // 2 + after + 1))
    return cuts[0], cuts[1]


VERSIONS = ("4.02", "3.3")
PUBLISHER = "ZTF (www.ztf.caltech.edu)"
MAGIC = b"Obj\x01"
SYNC_BYTES = 16


@lru_cache(maxsize=4)
def writer_schema(version: str) -> dict[str, Any]:
    """The writer schema as ZTF embeds it; ValueError for a version that is not written here."""
    if version not in VERSIONS:
        raise ValueError(f"no schema {version!r} to write: choose one of {', '.join(VERSIONS)}")
    text = (resources.files("schemas") / "ztf" / version / "alert.avsc").read_text()
    parsed: dict[str, Any] = json.loads(text)
    return parsed


@lru_cache(maxsize=4)
def _encoder(version: str) -> Encoder:
    return compile_schema(writer_schema(version))


def _field_names(version: str, name: str) -> list[str]:
    for field in writer_schema(version)["fields"]:
        if field["name"] == name:
            kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
            record = next(kind for kind in kinds if isinstance(kind, dict))
            return [inner["name"] for inner in record.get("items", record)["fields"]]
    return []


@lru_cache(maxsize=32)
def field_names(version: str, name: str) -> tuple[str, ...]:
    """Names of the fields of `candidate`, `prv_candidates` or `fp_hists`; empty where the version has none."""
    return tuple(_field_names(version, name))


@lru_cache(maxsize=4)
def _head(version: str) -> bytes:
    meta = {
        b"avro.codec": b"null",
        b"avro.schema": json.dumps(writer_schema(version), separators=(",", ":")).encode(),
    }
    pairs = b"".join(binary(key) + binary(value) for key, value in meta.items())
    return MAGIC + long(len(meta)) + pairs + long(0)


def container(record: Mapping[str, Any], version: str) -> bytes:
    """An uncompressed object container of one alert.

    Its sync marker is a hash of the record, so that equal alerts are equal bytes.
    """
    data = _encoder(version)(record)
    sync = hashlib.blake2b(data, digest_size=SYNC_BYTES).digest()
    return _head(version) + sync + long(1) + long(len(data)) + data + sync
