"""What a file holds, by its content and not by its name: packets in Avro containers, gzip and tars, however nested."""

import mmap
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePath
from typing import IO, Any, Final, cast

from isal import igzip
from isal.igzip_lib import IsalError

from consumer.archive.tar_members import TarMembers, is_tar
from consumer.decoding.container import MAGIC, Buffer, read_blocks, read_header
from consumer.errors import BadAlert

TAR_SUFFIXES: Final = (".tar", ".tar.gz", ".tgz")
SUFFIX: Final = ".avro"
GZIP_MAGIC: Final = b"\x1f\x8b"
HEAD: Final = 512
CHUNK: Final = 2**20
DEEPEST: Final = 4
"""Tars and gzips within each other."""
EXAMPLES: Final = 3
DAMAGED: Final = (tarfile.ReadError, EOFError, OSError, zlib.error, IsalError)
"""What reading a tar or its gzip raises where it is cut short or corrupt."""


def printable_name(name: str) -> str:
    """A file's name as text that can be printed and published: bytes that are not UTF-8 are written as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@dataclass(slots=True)
class PassedOver:
    """What holds no alert, and was not read: counts by what it is, and some of the names."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)

    def note(self, kind: str, name: str) -> None:
        self.counts[kind] += 1
        names = self.names.setdefault(kind, [])
        if len(names) < EXAMPLES:
            names.append(printable_name(name))

    def __str__(self) -> str:
        def described(kind: str, count: int) -> str:
            more = ", …" if count > EXAMPLES else ""
            return f"{count} × {kind} ({', '.join(self.names[kind])}{more})"

        return "; ".join(described(kind, count) for kind, count in self.counts.most_common())


class _Stream:
    """A stream whose first bytes have been looked at."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.head = self._left = read_whole(stream, HEAD)

    def read(self, size: int) -> bytes:
        taken: bytes = b""
        if self._left:
            taken, self._left = self._left[:size], self._left[size:]
        else:
            taken = self._stream.read(size)
        return taken

    def readinto(self, buffer: memoryview) -> int:
        """As igzip reads."""
        taken = self.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)


def read_whole(stream: Any, size: int) -> bytes:
    """`size` bytes, or as many as there are."""
    parts = []
    while size > 0 and (part := stream.read(min(size, CHUNK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Contents:
    """Reads the packets of files. damage: what was found wrong in the file in hand.

    packet_bytes: more of one packet is not held. A larger one is handed on cut after one byte more, for the decoder to
    refuse. container_bytes: the same, of a container that is gzipped by itself.
    """

    def __init__(self, packet_bytes: int, container_bytes: int) -> None:
        self._packet_bytes, self._container_bytes = packet_bytes, container_bytes
        self.passed_over = PassedOver()
        self.damage: list[str] = []
        self._name = ""

    def packets(self, file: IO[bytes], stream: Any, name: str) -> Iterator[bytes]:
        """Each packet of a file. `stream` reads the same file, and may be watched; a container is mapped to memory."""
        self.damage, self._name = [], name
        try:
            looked_at = _Stream(stream)
            if looked_at.head.startswith(MAGIC):
                yield from _mapped_blocks(file)
            else:
                yield from self._packets(looked_at, name, 0)
        except DAMAGED as error:  # type: ignore[misc] # isal's stub hides that its error is an exception
            self.damage.append(str(error))

    def _packets(self, stream: _Stream, name: str, depth: int) -> Iterator[bytes]:
        lower = name.lower()
        if _is_macos(name):
            self.passed_over.note("macOS metadata", name)
        elif depth > DEEPEST:
            self.passed_over.note(f"nested more than {DEEPEST} deep", name)
        elif stream.head.startswith(GZIP_MAGIC):
            yield from self._gunzipped(stream, name, depth)
        elif stream.head.startswith(MAGIC):
            yield read_whole(stream, self._packet_bytes + 1)
        elif is_tar(stream.head) or lower.endswith(TAR_SUFFIXES):
            yield from self._members(stream, name, depth)
        elif lower.endswith((SUFFIX, f"{SUFFIX}.gz")):
            yield read_whole(stream, self._packet_bytes + 1)  # a packet that is damaged from its first byte on
        else:
            self.passed_over.note("no alert" if stream.head else "empty", name)

    def _gunzipped(self, stream: _Stream, name: str, depth: int) -> Iterator[bytes]:
        inner = _Stream(igzip.open(cast("Any", stream)))  # type: ignore[no-untyped-call]
        if inner.head.startswith(MAGIC) and depth == 0:
            yield from _blocks(read_whole(inner, self._container_bytes + 1))
        else:
            yield from self._packets(inner, name, depth + 1)

    def _members(self, stream: _Stream, name: str, depth: int) -> Iterator[bytes]:
        with TarMembers.of(stream) as tar:
            try:
                for member, content in tar.each():
                    if content is None:
                        self._note_special(member)
                    elif member.size > self._packet_bytes or _is_macos(member.name):
                        yield from self._packets(_Stream(content), member.name, depth + 1)
                    else:
                        yield from self._packet_or_nested(content.read(), member.name, depth)
            finally:
                where = "" if name == self._name else f"{printable_name(name)}: "
                self.damage += [f"{where}{one}" for one in tar.damage]

    def _packet_or_nested(self, payload: bytes, name: str, depth: int) -> Iterator[bytes]:
        """A member that fits in memory: nearly always a packet, known by its first bytes."""
        if payload.startswith(MAGIC):
            yield payload
        else:
            yield from self._packets(_Stream(BytesIO(payload)), name, depth + 1)

    def _note_special(self, member: tarfile.TarInfo) -> None:
        if member.issparse():
            self.passed_over.note("sparse file", member.name)
        elif not member.isdir():
            self.passed_over.note("link" if member.islnk() or member.issym() else "device", member.name)


def _is_macos(name: str) -> bool:
    """Finder's own files: `._NAME` beside each file, and the folder `__MACOSX`."""
    if "._" not in name and "__MACOSX" not in name:
        return False  # to take a name apart costs some microseconds, and nearly every one ends here
    path = PurePath(name)
    return path.name.startswith("._") or "__MACOSX" in path.parts


def _mapped_blocks(file: IO[bytes]) -> Iterator[bytes]:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as payload:
        yield from _blocks(payload)


def _blocks(payload: Buffer) -> Iterator[bytes]:
    """Each block of a container as a container of its own: one of a whole night need not fit in memory.

    What is damaged is handed on whole from where it is, for the decoder to say why.
    """
    header, position = b"", 0
    try:
        found = read_header(payload)
        header, position = payload[: found.size], found.size
        for block in read_blocks(payload, found):
            yield header + payload[block.start : block.end]
            position = block.end
    except BadAlert:
        yield header + payload[position:]
    else:
        if position == len(header):
            yield header  # a container without a block: no alert, and no error
