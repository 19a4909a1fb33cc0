"""Dead letters, read back: from their topic, or from the Avro file that a replay left."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import fastavro

from consumer.deadletter import DeadLetter
from consumer.errors import BrokerError, ConfigError, OutputError, Reason
from consumer.message import Batch, Message
from consumer.scan import TopicScan
from consumer.settings import Settings

Mark = tuple[int, int]
"""Where a letter itself lies: partition and offset of the dead-letter topic; in a file, 0 and its number."""


@dataclass(frozen=True, slots=True)
class Slip:
    """A dead letter without its bytes, as all of a night's can be held at once. size: of the bytes; None for none."""

    mark: Mark
    place: tuple[str, int, int, int]
    reason: Reason
    explanation: str
    time_ms: int
    size: int | None

    @classmethod
    def of(cls, mark: Mark, letter: DeadLetter) -> Self:
        size = None if letter.payload is None else len(letter.payload)
        return cls(mark, letter.place, letter.reason, letter.explanation, letter.time_ms, size)


@dataclass(frozen=True, slots=True)
class Letters:
    """Which dead letters are meant. file: an Avro file, None for the dead-letter topic. reasons: empty for all."""

    file: Path | None = None
    reasons: Sequence[str] = ()

    def slips(self, settings: Settings) -> list[Slip]:
        """The letters in order of arrival, each alert's last one only: a batch seen twice leaves two.

        Raises ConfigError for a reason there is none of, OutputError or BrokerError where they cannot be read.
        """
        if unknown := sorted(set(self.reasons) - set(Reason)):
            raise ConfigError(f"--reason {unknown[0]} is none; known are {', '.join(Reason)}")
        last = {letter.place: Slip.of(mark, letter) for mark, letter in self._all(settings)}
        return [slip for slip in last.values() if not self.reasons or slip.reason in self.reasons]

    def whole(self, settings: Settings, slips: Iterable[Slip]) -> Iterator[DeadLetter]:
        """Those letters with their bytes, read once more, one at a time. Raises OutputError or BrokerError."""
        marks = {slip.mark for slip in slips}
        return (letter for mark, letter in self._all(settings) if mark in marks)

    def _all(self, settings: Settings) -> Iterator[tuple[Mark, DeadLetter]]:
        return in_file(self.file) if self.file else in_topic(settings)


def in_topic(settings: Settings) -> Iterator[tuple[Mark, DeadLetter]]:
    """Every letter of the dead-letter topic, with its mark."""
    topic = settings.output.dead_letter_topic
    with closing(TopicScan(settings.kafka)) as scan:
        for one in scan.messages([topic]):
            try:
                letter = DeadLetter.from_headers(one.value(), dict(one.headers() or {}))
            except (KeyError, ValueError) as error:
                place = f"message {one.offset()} of {topic} [{one.partition()}]"
                raise BrokerError(f"{place} is no dead letter ({error}); check output.dead_letter_topic") from error
            yield (int(one.partition() or 0), int(one.offset() or 0)), letter


def in_file(path: Path) -> Iterator[tuple[Mark, DeadLetter]]:
    """Every letter of an Avro file that `estampa replay --dead-letters` wrote, with its mark."""
    try:
        with path.open("rb") as file:
            for number, record in enumerate(fastavro.reader(file)):
                yield (0, number), DeadLetter.from_record(record)  # type: ignore[arg-type]
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}; give a file of dead letters") from error
    except (KeyError, ValueError, TypeError, EOFError) as error:
        raise OutputError(f"{path} holds no dead letters, or ends early: {error}") from error


class LettersSource:
    """The packets of dead letters as the loop reads them, each once, under the names of where they first stood.

    done: the places of those that have been through. A tombstone, and a private alert whose bytes stayed where they
    were, cannot go again.
    """

    def __init__(self, letters: Iterable[DeadLetter], batch_size: int) -> None:
        self._letters, self._batch_size = letters, batch_size
        self._stopping = False
        self.done: set[tuple[str, int, int]] = set()

    def batches(self) -> Iterator[Batch]:
        packets = self._packets()
        while not self._stopping and (messages := tuple(islice(packets, self._batch_size))):
            yield Batch(messages)

    def _packets(self) -> Iterator[Message]:
        """A container of several bad alerts left a letter of each, and goes once."""
        seen: set[tuple[str, int, int]] = set()
        for letter in self._letters:
            packet = letter.place[:3]
            if letter.payload is not None and packet not in seen:
                seen.add(packet)
                yield letter.message

    def commit(self, batch: Batch) -> None:
        """Dead letters stay where they are; here it is noted that these have been tried."""
        self.done |= {(one.topic, one.partition, one.offset) for one in batch.messages}

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping = True

    def close(self) -> None:
        """Nothing is open."""
