"""Dead letters, read back: from their topic, or from the Avro file that a replay left."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import fastavro

from consumer.deadletter import DeadLetter
from consumer.errors import BrokerError, ConfigError, OutputError, Reason
from consumer.message import Batch, Message
from consumer.scan import TopicScan
from consumer.settings import Settings


@dataclass(frozen=True, slots=True)
class Letters:
    """Which dead letters are meant. file: an Avro file, None for the dead-letter topic. reasons: empty for all."""

    file: Path | None = None
    reasons: Sequence[str] = ()

    def read(self, settings: Settings) -> list[DeadLetter]:
        """The letters in order of arrival, each alert's last one only: a batch seen twice leaves two.

        Raises ConfigError for a reason there is none of, OutputError or BrokerError where they cannot be read.
        """
        if unknown := sorted(set(self.reasons) - set(Reason)):
            raise ConfigError(f"--reason {unknown[0]} is none; known are {', '.join(Reason)}")
        found = in_file(self.file) if self.file else in_topic(settings)
        letters = {letter.place: letter for letter in found}
        return [letter for letter in letters.values() if not self.reasons or letter.reason in self.reasons]


def in_topic(settings: Settings) -> Iterator[DeadLetter]:
    """Every letter of the dead-letter topic."""
    topic = settings.output.dead_letter_topic
    with closing(TopicScan(settings.kafka)) as scan:
        for one in scan.messages([topic]):
            try:
                yield DeadLetter.from_headers(one.value(), dict(one.headers() or {}))
            except (KeyError, ValueError) as error:
                place = f"message {one.offset()} of {topic} [{one.partition()}]"
                raise BrokerError(f"{place} is no dead letter ({error}); check output.dead_letter_topic") from error


def in_file(path: Path) -> Iterator[DeadLetter]:
    """Every letter of an Avro file that `estampa replay --dead-letters` wrote."""
    try:
        with path.open("rb") as file:
            for record in fastavro.reader(file):
                yield DeadLetter.from_record(record)  # type: ignore[arg-type]
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}; give a file of dead letters") from error
    except (KeyError, ValueError, TypeError, EOFError) as error:
        raise OutputError(f"{path} holds no dead letters, or ends early: {error}") from error


class LettersSource:
    """The packets of dead letters as the loop reads them, each once, under the names of where they first stood.

    packets: how many there are. done: the places of those that have been through. A tombstone, and a private alert
    whose bytes stayed where they were, cannot go again.
    """

    def __init__(self, letters: Sequence[DeadLetter], batch_size: int) -> None:
        packets = {letter.place[:3]: letter.message for letter in letters if letter.payload is not None}
        self._messages: Sequence[Message] = list(packets.values())
        self._batch_size = batch_size
        self._stopping = False
        self.packets = len(packets)
        self.done: set[tuple[str, int, int]] = set()

    def batches(self) -> Iterator[Batch]:
        for start in range(0, len(self._messages), self._batch_size):
            if self._stopping:
                return
            yield Batch(self._messages[start : start + self._batch_size])

    def commit(self, batch: Batch) -> None:
        """Dead letters stay where they are; here it is noted that these have been tried."""
        self.done |= {(one.topic, one.partition, one.offset) for one in batch.messages}

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping = True

    def close(self) -> None:
        """Nothing is open."""
