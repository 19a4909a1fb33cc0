"""Avro object containers, as Kafka messages and archive members are: header, blocks, codecs.

The header is walked here rather than by `fastavro.reader` so that a schema is parsed once, not once a packet.
Avro 1.11 specification, "Object Container Files".
"""

import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import cramjam

from consumer.errors import BadAlert, Reason

Buffer = bytes | mmap.mmap

MAGIC: Final = b"Obj\x01"
SYNC_SIZE: Final = 16
CODECS: Final = ("null", "deflate", "snappy")
WANTED: Final = (b"avro.schema", b"avro.codec")
BLOCK_BYTES: Final = 256 * 2**20
"""A packet whose blocks inflate past this is refused, unless `limit_blocks` says otherwise; a ZTF alert is 0.1 MB,
Rubin's largest are several.
"""
HEADER_BYTES: Final = 512 * 2**10
"""A longer header is refused; ZTF's is 0.03 MB, Rubin's 0.1 MB."""


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
    """Refuse packets that inflate past `max_bytes` from now on, in this process: `limits.block_bytes`."""
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
            key, value = _header_bytes(cursor), _header_bytes(cursor)
            if key in WANTED:
                metadata[key] = value
    sync = cursor.take(SYNC_SIZE)
    if b"avro.schema" not in metadata:
        raise BadAlert(Reason.CORRUPT, "container's header carries no avro.schema")
    codec = metadata.get(b"avro.codec", b"null").decode("ascii", "replace")
    if codec not in CODECS:
        raise BadAlert(Reason.CODEC, f"container's codec is {codec[:50]!r}; estampa reads {', '.join(CODECS)}")
    return Header(metadata[b"avro.schema"], codec, sync, cursor.position)


def _header_bytes(cursor: Cursor) -> bytes:
    size = cursor.long()
    if size + cursor.position > HEADER_BYTES:
        raise BadAlert(Reason.TOO_LARGE, f"container's header is longer than {HEADER_BYTES} bytes")
    return cursor.take(size)


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


def open_blocks(payload: Buffer, header: Header) -> Iterator[Block]:
    """Every block of a packet, inflated. Raises BadAlert at the first that is damaged, or takes them past
    `limits.block_bytes` in all.
    """
    inflated = 0
    for block in read_blocks(payload, header):
        data = _inflate(block.data, header.codec, _max_block_bytes - inflated)
        inflated += len(data) if header.codec != "null" else 0
        yield replace(block, data=data)


def _inflate(data: bytes, codec: str, max_bytes: int) -> bytes:
    if codec == "null":
        return data
    try:
        return _inflate_deflate(data, max_bytes) if codec == "deflate" else _inflate_snappy(data, max_bytes)
    except (zlib.error, cramjam.DecompressionError, ValueError) as error:
        raise BadAlert(Reason.CORRUPT, f"block's {codec} data is damaged: {error}") from error


def _inflate_deflate(data: bytes, max_bytes: int) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = stream.decompress(data, max_bytes + 1)
    if len(inflated) > max_bytes:
        raise _too_large()
    if not stream.eof:
        raise BadAlert(Reason.CORRUPT, f"block's deflate data ends early, after {len(inflated)} bytes")
    return inflated


def _inflate_snappy(data: bytes, max_bytes: int) -> bytes:
    """Avro's snappy blocks end in the big-endian CRC-32 of the inflated bytes."""
    packed, crc = data[:-4], data[-4:]
    if cramjam.snappy.decompress_raw_len(packed) > max_bytes:
        raise _too_large()
    inflated = bytes(cramjam.snappy.decompress_raw(packed))
    if zlib.crc32(inflated) != int.from_bytes(crc, "big"):
        raise BadAlert(Reason.CORRUPT, "block's snappy data fails its CRC-32")
    return inflated


def _too_large() -> BadAlert:
    return BadAlert(Reason.TOO_LARGE, f"packet inflates past {_max_block_bytes} bytes, limits.block_bytes")
