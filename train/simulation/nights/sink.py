"""Where a night's packets go, and how fast: a directory, a tar laid out as ZTF's archive, or a Kafka topic.

Nothing appears under its final name before it is whole: files are written beside it and renamed on success.
"""

import io
import re
import tarfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from isal import igzip

from consumer.archive.contents import TAR_SUFFIXES
from train.files import atomic_write, check_free
from train.simulation.nights.batch import Packet

VISIT = re.compile(r"(\d+)/(\d+(?:\.\d+)?)s")


@dataclass(slots=True)
class Pace:
    """`burst` packets at once, every `period` seconds; a period of 0 does not wait."""

    burst: int = 1
    period: float = 0.0
    _start: float = field(default=0.0, init=False)
    _sent: int = field(default=0, init=False)

    def start(self, now: float) -> None:
        """Begin to count at time `now` (seconds of a monotonic clock)."""
        self._start, self._sent = now, 0

    def wait(self, now: float) -> float:
        """Seconds until the next packet may go; 0 or less: it may go now."""
        return self._start + (self._sent // self.burst) * self.period - now

    def sent(self) -> None:
        """Count one packet."""
        self._sent += 1


def read_pace(rate: float | None, visit: str | None) -> Pace:
    """The pace of `--rate N` (packets a second) or `--visit N/Ss` (N packets every S seconds).

    Raises ValueError for what is neither.
    """
    if rate is not None and visit is not None:
        raise ValueError("--rate and --visit exclude each other: give one of them")
    if visit is not None:
        match = VISIT.fullmatch(visit)
        if match is None or int(match[1]) < 1:
            raise ValueError(f"--visit {visit!r} is not N/SECONDSs: write e.g. 10000/39s")
        return Pace(int(match[1]), float(match[2]))
    if rate is None:
        return Pace()
    if rate <= 0:
        raise ValueError(f"--rate {rate} is no rate: write packets a second, e.g. 333")
    return Pace(1, 1.0 / rate)


ARCHIVE_LEVEL = 1  # stamps are compressed already; what is left is text and history
PLAIN_TAR = ".tar"
OTHER_ARCHIVES = (".zip", ".7z", ".rar", ".gz", ".xz", ".bz2", ".zst", ".txz", ".tbz2", ".tzst", ".avro")
KAFKA_SCHEME = "kafka://"
FLUSH_SECONDS = 60.0
CONNECT_SECONDS = 5.0


class PacketSink(Protocol):
    """Takes packets in order; leaving it without an error makes them last, leaving it with one removes them."""

    def __enter__(self) -> Self: ...

    def write(self, packet: Packet) -> None:
        """Take one packet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Names:
    """`<candid>.avro`, and `<candid>.repeat1.avro` where the same packet comes again."""

    def __init__(self) -> None:
        self._given: Counter[int] = Counter()

    def of(self, packet: Packet) -> str:
        repeat = self._given[packet.candid]
        self._given[packet.candid] += 1
        return f"{packet.candid}.repeat{repeat}.avro" if repeat else f"{packet.candid}.avro"


class DirectorySink:
    """One file a packet in a new directory."""

    def __init__(self, path: Path) -> None:
        self._guard = atomic_write(path)
        self._names = _Names()

    def __enter__(self) -> Self:
        self._folder = self._guard.__enter__()
        self._folder.mkdir(parents=True)
        return self

    def write(self, packet: Packet) -> None:
        """Write the packet to its file."""
        (self._folder / self._names.of(packet)).write_bytes(packet.payload)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.__exit__(kind, error, trace)


class TarSink:
    """One member a packet in a tar, compressed unless it is named .tar.

    Its bytes depend on the packets alone: members bear no times and no owner.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = ExitStack()
        self._names = _Names()

    def __enter__(self) -> Self:
        file: Any = self._open.enter_context(self._open.enter_context(atomic_write(self._path)).open("wb"))
        if not self._path.name.endswith(PLAIN_TAR):
            packed = igzip.IGzipFile("", "wb", ARCHIVE_LEVEL, file, mtime=0)  # type: ignore[no-untyped-call]
            file = self._open.enter_context(packed)
        self._tar = self._open.enter_context(tarfile.open(fileobj=file, mode="w|"))
        return self

    def write(self, packet: Packet) -> None:
        """Append the packet as a member."""
        member = tarfile.TarInfo(self._names.of(packet))
        member.size = len(packet.payload)
        self._tar.addfile(member, io.BytesIO(packet.payload))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


class PacketProducer:
    """A topic of the night, paced. Every delivery report is checked."""

    def __init__(self, servers: str, topic: str, pace: Pace) -> None:
        self._servers, self._topic, self._pace = servers, topic, pace
        self._failures: list[str] = []

    def __enter__(self) -> Self:
        self._create_topic()
        self._producer = Producer(
            {"bootstrap.servers": self._servers, "enable.idempotence": True, "linger.ms": 5, "log_level": 2}
        )
        self._pace.start(time.monotonic())
        return self

    def _create_topic(self) -> None:
        admin = AdminClient({"bootstrap.servers": self._servers, "log_level": 2})
        try:
            admin.list_topics(timeout=CONNECT_SECONDS)
            for future in admin.create_topics([NewTopic(self._topic, 1, 1)]).values():
                future.result(CONNECT_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                why = error.args[0].str()
                message = f"cannot create topic {self._topic} at {self._servers}: {why}; is the broker up?"
                raise ConnectionError(message) from error

    def _delivered(self, error: object, _message: object) -> None:
        if error is not None:
            self._failures.append(str(error))

    def write(self, packet: Packet) -> None:
        """Produce the packet when its turn has come."""
        pause = self._pace.wait(time.monotonic())
        while pause > 0.0:
            self._producer.poll(min(pause, 0.1))
            pause = self._pace.wait(time.monotonic())
        self._pace.sent()
        while True:
            try:
                self._producer.produce(self._topic, packet.payload, on_delivery=self._delivered)
                break
            except BufferError:  # the queue is full: let it drain
                self._producer.poll(0.5)
        self._producer.poll(0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self._producer.flush(FLUSH_SECONDS)
        if kind is None and (left or self._failures):
            why = self._failures[0] if self._failures else "no answer from the broker"
            raise ConnectionError(
                f"{left + len(self._failures)} packets did not reach {self._topic} at {self._servers}: {why}"
            )


def sink_for(out: str, topic: str, pace: Pace) -> PacketSink:
    """The sink that `--out` names. Raises ValueError for a place that is taken or cannot be written."""
    if out.startswith(KAFKA_SCHEME):
        servers = out.removeprefix(KAFKA_SCHEME).strip("/")
        if not servers:
            raise ValueError(f"--out {out} names no broker: write kafka://host:port")
        return PacketProducer(servers, topic, pace)
    path = Path(out)
    if path.suffix in OTHER_ARCHIVES and not path.name.endswith(TAR_SUFFIXES):
        kinds = ", ".join(TAR_SUFFIXES)
        raise ValueError(f"--out {out}: no {path.suffix} archive is written; give a name in {kinds}, or of a directory")
    check_free(path)
    return TarSink(path) if path.name.endswith(TAR_SUFFIXES) else DirectorySink(path)
