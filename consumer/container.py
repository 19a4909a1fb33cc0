"""Avro object containers, as Kafka messages and archive members are: header, blocks, codecs.

The header is walked here rather than by `fastavro.reader` so that a schema is parsed once, not once a packet.
Avro 1.11 specification, "Object Container Files".
"""

import json
import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, cast

import cramjam
import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from consumer.errors import BadAlert, Reason
from consumer.projection import Schema, project

Buffer = bytes | mmap.mmap

MAGIC: Final = b"Obj\x01"
SYNC_SIZE: Final = 16
CODECS: Final = ("null", "deflate", "snappy")
BLOCK_BYTES: Final = 256 * 2**20
"""A block that inflates past this is refused, unless `limit_blocks` says otherwise; a ZTF alert is 0.1 MB, Rubin's
largest are several.
"""

MALFORMED: Final = (
    *(
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        MemoryError,
        RecursionError,
        AttributeError,
    ),
    *(SchemaParseException, UnknownType),
)
"""What fastavro raises on bytes or schemas that are not what they say."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a schema means to us, worked out once: the parsed writer schema, our projection of it, its version."""

    writer: Schema
    reader: Schema
    version: str


@dataclass(frozen=True, slots=True)
class Header:
    """Start of a container. size: its bytes, sync marker included."""

    schema: bytes
    codec: str
    sync: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Block:
    """A run of records. start, end: where its bytes, count to sync marker, stand in the container."""

    count: int
    data: bytes
    start: int
    end: int


class Cursor:
    """Reads Avro's primitive encodings from `buffer`, never past its end."""

    __slots__ = ("buffer", "position")

    def __init__(self, buffer: Buffer, position: int = 0) -> None:
        self.buffer = buffer
        self.position = position

    def long(self) -> int:
        """A zigzag variable-length integer of at most 64 bits."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
            shift += 7
            if shift > 63:
                raise BadAlert(Reason.CORRUPT, f"number at byte {self.position} is longer than 64 bits")

    def take(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > len(self.buffer):
            where = f"byte {self.position} of {len(self.buffer)}"
            raise BadAlert(Reason.CORRUPT, f"container ends early: {size} bytes wanted at {where}")
        taken = self.buffer[self.position : end]
        self.position = end
        return taken

    def bytes(self) -> bytes:
        return self.take(self.long())


def limit_blocks(max_bytes: int) -> None:
    """Refuse blocks that inflate past `max_bytes` from now on, in this process: `limits.block_bytes`."""
    global _max_block_bytes  # noqa: PLW0603 - as with logging, one for the process
    _max_block_bytes = max_bytes


_max_block_bytes = BLOCK_BYTES


def avro_long(value: int) -> bytes:
    """Avro's zigzag variable-length encoding of a non-negative integer."""
    value <<= 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def read_header(payload: Buffer) -> Header:
    """Raises BadAlert where `payload` is no container or its header is damaged."""
    if payload[: len(MAGIC)] != MAGIC:
        start = payload[:4].hex(" ")
        raise BadAlert(Reason.NOT_AVRO, f"starts with {start}, not with an Avro container's 4f 62 6a 01 ('Obj', 1)")
    cursor = Cursor(payload, len(MAGIC))
    metadata: dict[bytes, bytes] = {}
    while count := cursor.long():
        if count < 0:  # a negative count is followed by the size of the run
            count = -count
            cursor.long()
        for _ in range(count):
            key = cursor.bytes()
            metadata[key] = cursor.bytes()
    sync = cursor.take(SYNC_SIZE)
    if b"avro.schema" not in metadata:
        raise BadAlert(Reason.CORRUPT, "container's header carries no avro.schema")
    codec = metadata.get(b"avro.codec", b"null").decode("ascii", "replace")
    if codec not in CODECS:
        raise BadAlert(Reason.CODEC, f"container's codec is {codec!r}; estampa reads {', '.join(CODECS)}")
    return Header(metadata[b"avro.schema"], codec, sync, cursor.position)


def read_blocks(payload: Buffer, header: Header) -> Iterator[Block]:
    """Every block, still compressed. Raises BadAlert at the first that is damaged."""
    cursor = Cursor(payload, header.size)
    while cursor.position < len(payload):
        start = cursor.position
        count, data = cursor.long(), cursor.bytes()
        sync = cursor.take(SYNC_SIZE)
        if sync != header.sync or count < 0:
            raise BadAlert(Reason.CORRUPT, f"block at byte {start} does not end in the container's sync marker")
        yield Block(count, data, start, cursor.position)


@lru_cache(maxsize=256)
def layout(schema: bytes, metadata: tuple[str, ...] = ()) -> Layout:
    """Parse a writer schema: once for each distinct schema, whatever the number of packets.

    metadata: fields of the candidate that are wanted beside those always read.

    Raises BadAlert where it is no schema, or not that of a ZTF alert.
    """
    try:
        spelled = json.loads(schema)
        writer = fastavro.parse_schema(spelled)
        reader = fastavro.parse_schema(project(writer, metadata))
    except MALFORMED as error:
        raise BadAlert(Reason.WRONG_SCHEMA, f"container's schema cannot be parsed: {_named(error)}") from error
    return Layout(writer, reader, str(spelled.get("version", "")))


def read_records(payload: Buffer, metadata: tuple[str, ...] = ()) -> Iterator[tuple[dict[str, Any], Layout]]:
    """Each record of a container, wanted fields only, with its layout.

    Raises BadAlert at the first thing that cannot be read; the records before it have been yielded.
    """
    header = read_header(payload)
    known = layout(header.schema, metadata)
    for block in read_blocks(payload, header):
        body = BytesIO(_inflate(block.data, header.codec))
        for _ in range(block.count):
            yield _read_record(body, known), known
        if body.read(1):
            raise BadAlert(Reason.CORRUPT, f"block at byte {block.start} has bytes left over after its last record")


def _read_record(body: BytesIO, known: Layout) -> dict[str, Any]:
    try:
        record = cast("dict[str, Any]", fastavro.schemaless_reader(body, known.writer, known.reader))
    except MALFORMED as error:
        raise BadAlert(Reason.CORRUPT, f"record does not follow the container's schema: {_named(error)}") from error
    return record


def _inflate(data: bytes, codec: str) -> bytes:
    if codec == "null":
        return data
    try:
        inflated = _inflate_deflate(data) if codec == "deflate" else _inflate_snappy(data)
    except (zlib.error, cramjam.DecompressionError, ValueError) as error:
        raise BadAlert(Reason.CORRUPT, f"block's {codec} data is damaged: {error}") from error
    return inflated


def _inflate_deflate(data: bytes) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = stream.decompress(data, _max_block_bytes)
    if len(inflated) >= _max_block_bytes:
        raise BadAlert(Reason.TOO_LARGE, f"block inflates past {_max_block_bytes} bytes, limits.block_bytes")
    if not stream.eof:
        raise BadAlert(Reason.CORRUPT, f"block's deflate data ends early, after {len(inflated)} bytes")
    return inflated


def _inflate_snappy(data: bytes) -> bytes:
    """Avro's snappy blocks end in the big-endian CRC-32 of the inflated bytes."""
    packed, crc = data[:-4], data[-4:]
    size = cramjam.snappy.decompress_raw_len(packed)
    if size > _max_block_bytes:
        raise BadAlert(Reason.TOO_LARGE, f"block inflates to {size} bytes; limits.block_bytes is {_max_block_bytes}")
    inflated = bytes(cramjam.snappy.decompress_raw(packed))
    if zlib.crc32(inflated) != int.from_bytes(crc, "big"):
        raise BadAlert(Reason.CORRUPT, "block's snappy data fails its CRC-32")
    return inflated


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
