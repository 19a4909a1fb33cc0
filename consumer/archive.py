"""Archived nights: `ztf_public_YYYYMMDD.tar.gz`, tar, directories of `.avro`, single containers."""

import mmap
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Final, cast

from isal import igzip
from isal.igzip_lib import IsalError

from consumer.container import Buffer, read_blocks, read_header
from consumer.errors import ArchiveError, BadAlert
from consumer.message import Batch, Message

TAR_SUFFIXES: Final = (".tar", ".tar.gz", ".tgz")
SUFFIX: Final = ".avro"
READ_BYTES: Final = 2**15
"""tarfile copies what is left of a read for each member that it takes from it: a megabyte cost 50 µs an alert."""
DAMAGED: Final = (tarfile.ReadError, EOFError, OSError, zlib.error, IsalError)
"""What reading a tar or its gzip raises where it is cut short or corrupt."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One file to read. name: what its messages are said to come from."""

    path: Path
    name: str

    @property
    def is_tar(self) -> bool:
        return self.path.name.endswith(TAR_SUFFIXES)


def find_archives(paths: Sequence[Path]) -> list[Archive]:
    """The files that `paths` mean, in order; a directory means its `.avro` files and tars, at any depth, by name.

    Raises ArchiveError for a path that is missing, empty or of no known kind.
    """
    found: list[Archive] = []
    for path in paths:
        if path.is_dir():
            named = (file for file in path.rglob("*") if file.name.endswith((SUFFIX, *TAR_SUFFIXES)))
            files = sorted(file for file in named if file.is_file())  # Spark names its folders .avro too
            if not files:
                raise ArchiveError(f"{path} holds no {SUFFIX} and no tar file")
            found += [Archive(file, str(file.relative_to(path))) for file in files]
        elif not path.is_file():
            raise ArchiveError(f"{path} does not exist; give a tar, a tar.gz, a directory or an Avro container")
        elif path.name.endswith((SUFFIX, *TAR_SUFFIXES)):
            found.append(Archive(path, path.name))
        else:
            raise ArchiveError(f"{path} is of no known kind; give {', '.join((*TAR_SUFFIXES, SUFFIX))} or a directory")
    return found


class ArchiveSource:
    """Batches of the messages of some archives, in order.

    skip: messages to pass over, to go on after a stop. limit: alerts after which to end. An archive that ends early
    gives what can be read of it; then, after all archives, `batches` raises ArchiveError.
    """

    def __init__(self, archives: Sequence[Archive], batch_size: int, skip: int = 0, limit: int | None = None) -> None:
        self._archives, self._batch_size, self._skip, self._limit = archives, batch_size, skip, limit
        self._damaged: list[str] = []
        self._before = 0
        self._open: IO[bytes] | None = None
        self._stopping = False
        self.bytes_total = sum(archive.path.stat().st_size for archive in archives)

    @property
    def bytes_read(self) -> int:
        """How far the files are read, compressed as they are, for a progress bar."""
        return self._before + (self._open.tell() if self._open and not self._open.closed else 0)

    def batches(self) -> Iterator[Batch]:
        """The next batch is read, and its gzip inflated, while the one before it is worked on."""
        messages = self._limited(islice(self._messages(), self._skip, None))

        def read() -> tuple[Message, ...]:
            return tuple(islice(messages, self._batch_size))

        with ThreadPoolExecutor(1, "read") as reading:
            coming = reading.submit(read)
            while not self._stopping and (batch := coming.result()):
                coming = reading.submit(read)
                yield Batch(batch)
        if self._damaged:
            raise ArchiveError("; ".join(self._damaged))

    def commit(self, batch: Batch) -> None:
        """An archive needs no telling; what was done with it is in the journal of its outputs."""

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping = True

    def close(self) -> None:
        if self._open:
            self._open.close()

    def _limited(self, messages: Iterator[Message]) -> Iterator[Message]:
        if self._limit is None:
            yield from messages
            return
        left = self._limit
        while left > 0 and (message := next(messages, None)):
            yield message
            left -= _count_records(message.payload or b"")

    def _messages(self) -> Iterator[Message]:
        for archive in self._archives:
            with archive.path.open("rb") as self._open:
                payloads = self._members(archive) if archive.is_tar else _blocks(self._open)
                for offset, payload in enumerate(payloads):
                    yield Message(payload, archive.name, 0, offset)
            self._before += archive.path.stat().st_size

    def _members(self, archive: Archive) -> Iterator[bytes]:
        """Each packet of a tar, read as a stream."""
        read = 0
        file = cast("IO[bytes]", self._open)
        try:
            stream = file if archive.path.name.endswith(".tar") else igzip.open(file)  # type: ignore[no-untyped-call]
            with tarfile.open(fileobj=stream, mode="r|", bufsize=READ_BYTES) as tar:
                while member := tar.next():
                    tar.members.clear()  # type: ignore[attr-defined] # tarfile keeps each one it met: a night of them is a gigabyte
                    if member.isfile() and member.name.endswith(SUFFIX):
                        yield cast("IO[bytes]", tar.extractfile(member)).read()
                        read += 1
        except DAMAGED as error:  # type: ignore[misc] # isal's stub hides that its error is an exception
            self._damaged.append(f"{archive.path} ends early or is damaged after {read} alerts ({error}); get it again")


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Each block of a container as a container of its own: one of a whole night need not fit in memory.

    What is damaged is handed on whole from where it is, for the decoder to say why.
    """
    if not file.seek(0, 2):
        yield b""
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as payload:
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


def _count_records(payload: Buffer) -> int:
    try:
        return sum(block.count for block in read_blocks(payload, read_header(payload)))
    except BadAlert:
        return 1
