"""Avro packets: ZTF's writer schemas, and containers of one record as they travel through Kafka."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from train.simulation.packets.avro import Encoder, binary, compile_schema, long

VERSIONS = ("4.02", "3.3")
PUBLISHER = "ZTF (www.ztf.caltech.edu)"
MAGIC = b"Obj\x01"
SYNC_BYTES = 16


@lru_cache(maxsize=4)
def schema(version: str) -> dict[str, Any]:
    """The writer schema as ZTF embeds it; ValueError for a version that is not written here."""
    if version not in VERSIONS:
        raise ValueError(f"no schema {version!r} to write: choose one of {', '.join(VERSIONS)}")
    text = (resources.files("schemas") / "ztf" / version / "alert.avsc").read_text()
    parsed: dict[str, Any] = json.loads(text)
    return parsed


@lru_cache(maxsize=4)
def _encoder(version: str) -> Encoder:
    return compile_schema(schema(version))


def _field_names(version: str, name: str) -> list[str]:
    for field in schema(version)["fields"]:
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
        b"avro.schema": json.dumps(schema(version), separators=(",", ":")).encode(),
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
