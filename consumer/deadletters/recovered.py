"""Which dead letters were recovered: kept beside the letters, so that none is listed or published again.

Of the dead-letter topic, as messages without a value in the same topic; of a file, as lines of a file beside it.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from consumer.errors import OutputError

RECOVERED: Final = "estampa.recovered"
"""Kafka header of a message that records recovered dead letters: its value is a `Recovered` as JSON."""

DeadLetterOffset = tuple[int, int]
"""Where a dead letter itself lies: partition and offset of the dead-letter topic; in a file, 0 and its number."""

Packet = tuple[str, int, int]
"""Where a packet came from: source, partition, position."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The result of one packet whose dead letters went through the pipeline again.

    letters: its dead letters that were classified. candids: published, and not to be published again. time_ms: when,
    milliseconds since 1970.
    """

    source: str
    partition: int
    position: int
    letters: Sequence[DeadLetterOffset]
    candids: Sequence[int]
    time_ms: int

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """What `text` gave. Raises ValueError, KeyError or TypeError where it is none."""
        given = json.loads(text)
        letters = [(int(partition), int(offset)) for partition, offset in given["letters"]]
        candids = [int(candid) for candid in given["candids"]]
        place = str(given["source"]), int(given["partition"]), int(given["position"])
        return cls(*place, letters, candids, int(given["time_ms"]))

    @property
    def packet(self) -> Packet:
        return self.source, self.partition, self.position

    def text(self) -> str:
        return json.dumps(asdict(self))


class Recoveries:
    """When each dead letter was recovered, and which candids of its packet are published."""

    def __init__(self) -> None:
        self._times: dict[tuple[Packet, DeadLetterOffset], int] = {}
        self._candids: dict[Packet, set[int]] = {}

    def add(self, recovered: Recovered) -> None:
        self._times |= {(recovered.packet, letter): recovered.time_ms for letter in recovered.letters}
        self._candids.setdefault(recovered.packet, set()).update(recovered.candids)

    def time_ms(self, packet: Packet, letters: Iterable[DeadLetterOffset]) -> int | None:
        """When the last of these letters of a packet was recovered; None while one of them is not."""
        times = [self._times.get((packet, letter)) for letter in letters]
        known = [time for time in times if time is not None]
        return max(known) if known and len(known) == len(times) else None

    def candids(self, packet: Packet) -> set[int]:
        return self._candids.get(packet, set())


def recovered_beside(letters: Path) -> Path:
    """The file beside a file of dead letters that records which were recovered."""
    return letters.with_name(f"{letters.name}.recovered.jsonl")


def read_beside(letters: Path) -> Iterator[Recovered]:
    """What stands beside a file of letters. Raises OutputError where it cannot be read."""
    path = recovered_beside(letters)
    if not path.exists():
        return
    with reaching(path):
        lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"}\n"):
            continue  # a kill cut it: its letters go through once more
        try:
            yield Recovered.read(line)
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"line {number} of {path} records no recovery ({error}); delete the line") from error


@contextmanager
def reaching(path: Path) -> Iterator[None]:
    """One line for what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be read or written: {error.strerror}; see to its rights and room") from error
