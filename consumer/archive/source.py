"""Archived nights: tars, Avro containers and directories of them, gzipped or not, read in order and to their ends."""

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Final

import structlog

from consumer.archive.contents import Contents, PassedOver, printable_name
from consumer.decoding.container import BLOCK_BYTES, Buffer, read_blocks, read_header
from consumer.errors import ArchiveError, BadAlert
from consumer.message import Batch, Message

MESSAGES_AT_ONCE: Final = 256
PACKET_BYTES: Final = 16 * 2**20
"""As `limits.packet_bytes`: more of one packet is not read."""
KINDS: Final = "a tar, an Avro container, either of them gzipped, or a directory of these"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Archive:
    """One file to read. name: what its messages are said to come from."""

    path: Path
    name: str


def find_archives(paths: Sequence[Path], passed_over: PassedOver | None = None) -> list[Archive]:
    """The files that `paths` mean, in order; a directory means all of its files, at any depth, by name.

    What holds no alerts is found out when it is read. `passed_over` counts links that lead nowhere, or back to a
    folder that they are in, and of devices. Raises ArchiveError for a path that is missing, empty or a device.
    """
    passed_over = PassedOver() if passed_over is None else passed_over
    found: list[Archive] = []
    for path in paths:
        if path.is_dir():
            files = list(_files_below(path, passed_over))
            if not files:
                counts = f" ({passed_over})" if passed_over.counts else ""
                raise ArchiveError(f"{path} holds no file to read{counts}; give {KINDS}")
            found += [Archive(file, printable_name(str(file.relative_to(path)))) for file in sorted(files)]
        elif path.is_file():
            found.append(Archive(path, printable_name(path.name)))
        elif os.path.lexists(path):
            raise ArchiveError(f"{printable_name(str(path))} is {_described(path)}; give {KINDS}")
        else:
            raise ArchiveError(f"{printable_name(str(path))} does not exist; give {KINDS}")
    return found


def _files_below(folder: Path, passed_over: PassedOver) -> Iterator[Path]:
    """Links are followed; a folder that has been entered is not entered again."""
    entered: set[tuple[int, int]] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        status = Path(where).stat()
        if (status.st_dev, status.st_ino) in entered:
            passed_over.note("folder met before, by a link", where)
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        for name in files:
            path = Path(where, name)
            if path.is_file():
                yield path
            else:
                passed_over.note(_described(path).removeprefix("a "), str(path))


def _described(path: Path) -> str:
    """What is there that is no file."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "a link that leads nowhere"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


class ArchiveSource:
    """Batches of the messages of some archives, in order.

    skip: messages to pass over, to go on after a stop. limit: alerts after which to end. An archive that is damaged
    gives what can be read of it; then, after all archives, `batches` raises ArchiveError. So it does where there was
    not one message in all of them.
    """

    def __init__(
        self,
        archives: Sequence[Archive],
        batch_size: int,
        skip: int = 0,
        limit: int | None = None,
        passed_over: PassedOver | None = None,
        packet_bytes: int = PACKET_BYTES,
    ) -> None:
        self._archives, self._batch_size, self._skip, self._limit = archives, batch_size, skip, limit
        self._contents = Contents(packet_bytes, BLOCK_BYTES)
        if passed_over is not None:
            self._contents.passed_over = passed_over
        self._damaged: list[str] = []
        self._messages_seen = self._before = 0
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
        if self._contents.passed_over.counts:
            log.warning("files_passed_over", what=str(self._contents.passed_over))
        if self._damaged:
            raise ArchiveError("; ".join(self._damaged))
        if not (self._messages_seen or self._stopping or self._limit == 0):
            what = self._contents.passed_over if self._contents.passed_over.counts else "empty"
            names = ", ".join(archive.name for archive in self._archives[:3])
            raise ArchiveError(f"no alert in {names}: {what}; give {KINDS}")

    def commit(self, batch: Batch) -> None:
        """An archive needs no telling; what was done with it is in the journal of its outputs."""

    @property
    def stopping(self) -> bool:
        return self._stopping

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
            read = 0
            with archive.path.open("rb") as self._open:
                try:
                    for payload in self._contents.packets(self._open, _Watched(self._open, self), archive.name):
                        read += 1
                        self._messages_seen += 1
                        yield Message(payload, archive.name, 0, read - 1)
                except _StoppedError:
                    return
            self._before += archive.path.stat().st_size
            if damage := self._contents.damage:
                reasons = "; ".join(damage[:3]) + ("; …" if len(damage) > 3 else "")
                self._damaged.append(
                    f"{archive.path} ends early or is damaged after {read} alerts ({reasons}); get it again"
                )


class _StoppedError(Exception):
    """The source was told to stop while it read."""


class _Watched:
    """A file that is read no further once its source is told to stop, be there gigabytes without an alert."""

    def __init__(self, file: IO[bytes], source: ArchiveSource) -> None:
        self._file, self._source = file, source

    def read(self, size: int) -> bytes:
        if self._source.stopping:
            raise _StoppedError
        return self._file.read(size)


def read_packets(paths: Sequence[Path]) -> Iterator[bytes]:
    """Every packet of some archives, in order. Raises ArchiveError for what cannot be read, damage last."""
    source = ArchiveSource(find_archives(paths), MESSAGES_AT_ONCE)
    try:
        for batch in source.batches():
            for message in batch.messages:
                yield message.payload or b""
    finally:
        source.close()


def _count_records(payload: Buffer) -> int:
    try:
        return sum(block.count for block in read_blocks(payload, read_header(payload)))
    except BadAlert:
        return 1
