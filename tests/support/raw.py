"""Containers put together by hand: for the headers, counts and schemas that no honest writer makes."""

import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from io import BytesIO
from typing import Any

import fastavro

from consumer.decoding.packet import PacketReader
from tests.support.packets import PARSED, SCHEMA, Packet

SYNC = b"0123456789abcdef"
Json = dict[str, Any]


def long(value: int) -> bytes:
    """Avro's encoding of an integer, by its reference writer."""
    out = BytesIO()
    fastavro.schemaless_writer(out, "long", value)
    return out.getvalue()


def sized(value: bytes) -> bytes:
    return long(len(value)) + value


def header(metadata: dict[str, bytes], sync: bytes = SYNC) -> bytes:
    entries = b"".join(sized(key.encode()) + sized(value) for key, value in metadata.items())
    return b"Obj\x01" + (long(len(metadata)) + entries if metadata else b"") + b"\0" + sync


def block(data: bytes, count: int = 1, sync: bytes = SYNC) -> bytes:
    return long(count) + sized(data) + sync


def container_of(schema: Any, blocks: Iterable[bytes], codec: str = "null") -> bytes:
    metadata = {"avro.schema": json.dumps(schema).encode(), "avro.codec": codec.encode()}
    return header(metadata) + b"".join(blocks)


def body(packet: Packet | None = None) -> bytes:
    """One record, encoded with `SCHEMA`, without a container."""
    out = BytesIO()
    fastavro.schemaless_writer(out, PARSED, (packet or Packet()).record())
    return out.getvalue()


def changed_schema(change: Callable[[dict[str, Json], dict[str, Json]], None]) -> Json:
    """`SCHEMA` after `change` was let loose on its fields, and those of its candidate, both by name."""
    schema = deepcopy(SCHEMA)
    fields = {field["name"]: field for field in schema["fields"]}
    change(fields, {field["name"]: field for field in fields["candidate"]["type"]["fields"]})
    return schema


def without(schema: Json, name: str) -> Json:
    """A schema without one field of the alert, or, by `candidate.name`, of its candidate."""
    schema = deepcopy(schema)
    record, _, last = name.rpartition(".")
    owner = next(field["type"] for field in schema["fields"] if field["name"] == record) if record else schema
    owner["fields"] = [field for field in owner["fields"] if field["name"] != last]
    return schema


def written(schema: Json, record: Json) -> bytes:
    """A container of one record, by fastavro."""
    out = BytesIO()
    fastavro.writer(out, schema, [record], sync_marker=SYNC)
    return out.getvalue()


class FastavroReader(PacketReader):
    """Reads every record by fastavro: the reference for the compiled walk."""

    def _walked(self, *_: Any) -> None:
        return None
