"""Dead letters, read back: from their topic, or from the Avro file that a replay left."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, Self

import fastavro
from fastavro.schema import SchemaParseException

from consumer.configuration.settings import Settings
from consumer.deadletters.dead_letter import HEADER, DeadLetter
from consumer.deadletters.recovered import RECOVERED, DeadLetterOffset, Packet, Recovered, Recoveries, read_beside
from consumer.errors import BrokerError, ConfigError, OutputError, Reason
from consumer.kafka.reader import TopicReader
from consumer.message import Batch, Message

NOT_DEAD_LETTERS: Final = (
    KeyError, ValueError, TypeError, EOFError, OverflowError, IndexError, AttributeError, RecursionError, zlib.error,
    SchemaParseException,
)  # fmt: skip
"""What reading a file raises where it is no Avro, is damaged, or holds no dead letters."""


@dataclass(frozen=True, slots=True)
class DeadLetterInfo:
    """A dead letter without its bytes, as all of a night's can be held at once. size: of the bytes; None for none.

    letters: where it lies, the last place first, where several are of one alert. recovered_ms: when it was recovered,
    milliseconds since 1970; None while it is dead.
    """

    letters: tuple[DeadLetterOffset, ...]
    place: tuple[str, int, int, int]
    reason: Reason
    explanation: str
    time_ms: int
    size: int | None
    recovered_ms: int | None = None

    @classmethod
    def of(cls, letters: tuple[DeadLetterOffset, ...], letter: DeadLetter) -> Self:
        size = None if letter.payload is None else len(letter.payload)
        return cls(letters, letter.place, letter.reason, letter.explanation, letter.time_ms, size)

    @property
    def packet(self) -> Packet:
        return self.place[:3]


@dataclass(frozen=True, slots=True)
class DeadLetterReader:
    """Reads dead letters. file: an Avro file, None for the dead-letter topic. reasons: to select; empty for all.

    recovered: also those that were recovered since. Raises ConfigError for a reason that is not known.
    """

    file: Path | None = None
    reasons: Sequence[str] = ()
    recovered: bool = False

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.reasons) - set(Reason)):
            raise ConfigError(f"--reason {unknown[0]} is not a reason; known are {', '.join(Reason)}")

    def infos(self, settings: Settings) -> list[DeadLetterInfo]:
        """The selected dead letters, without their bytes."""
        return [info for info in self.all_infos(settings)[0] if self.selects(info)]

    def all_infos(self, settings: Settings) -> tuple[list[DeadLetterInfo], Recoveries]:
        """All dead letters in order of arrival, the last one of each alert, and which were recovered.

        A batch that was read twice leaves two dead letters of an alert. Raises OutputError or BrokerError.
        """
        last: dict[tuple[str, int, int, int], DeadLetterInfo] = {}
        recoveries = Recoveries()
        for at, found in self._all(settings):
            if isinstance(found, Recovered):
                recoveries.add(found)
            else:
                before = last.get(found.place)
                last[found.place] = DeadLetterInfo.of((at, *(before.letters if before else ())), found)
        infos = [replace(info, recovered_ms=recoveries.time_ms(info.packet, info.letters)) for info in last.values()]
        return infos, recoveries

    def selects(self, info: DeadLetterInfo) -> bool:
        has_reason = not self.reasons or info.reason in self.reasons
        return has_reason and (self.recovered or info.recovered_ms is None)

    def letters(self, settings: Settings, infos: Iterable[DeadLetterInfo]) -> Iterator[DeadLetter]:
        """These dead letters with their bytes, read again one at a time. Raises OutputError or BrokerError."""
        last = {info.letters[0] for info in infos}
        return (one for at, one in self._all(settings) if at in last and isinstance(one, DeadLetter))

    def _all(self, settings: Settings) -> Iterator[tuple[DeadLetterOffset, DeadLetter | Recovered]]:
        return in_file(self.file) if self.file else in_topic(settings)


def in_topic(settings: Settings) -> Iterator[tuple[DeadLetterOffset, DeadLetter | Recovered]]:
    """All of the dead-letter topic, each with its partition and offset: dead letters and records of recovery.

    Any program may write to the topic: a message whose headers cannot be read becomes a dead letter that says so.
    Raises BrokerError for a message without any of its headers: the topic is then another.
    """
    topic = settings.output.dead_letter_topic
    with closing(TopicReader(settings.kafka)) as scan:
        for one in scan.messages([topic]):
            at = int(one.partition() or 0), int(one.offset() or 0)
            here = Message(one.value(), topic, *at, max(one.timestamp()[1], 0))
            yield at, _read_message(here, dict(one.headers() or {}))


def _read_message(here: Message, headers: dict[str, str | bytes | None]) -> DeadLetter | Recovered:
    """The dead letter, or the record of recovery, that a message of the dead-letter topic is."""
    if not any(name.startswith(HEADER) for name in headers):
        place = f"message {here.offset} of {here.topic} [{here.partition}]"
        raise BrokerError(f"{place} is no dead letter (no {HEADER}reason); check output.dead_letter_topic")
    try:
        if record := headers.get(RECOVERED):
            return Recovered.read(record)
        return DeadLetter.from_headers(here.payload, headers)
    except KeyError as error:
        return DeadLetter.unreadable(here, f"{error.args[0]} is missing")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        return DeadLetter.unreadable(here, str(error))


def in_file(path: Path) -> Iterator[tuple[DeadLetterOffset, DeadLetter | Recovered]]:
    """The dead letters of a file that `estampa replay --dead-letters` wrote, by number, and the file's recoveries."""
    try:
        with path.open("rb") as file:
            for number, record in enumerate(fastavro.reader(file)):
                yield (0, number), DeadLetter.from_record(record)  # type: ignore[arg-type]
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}; give a file of dead letters") from error
    except NOT_DEAD_LETTERS as error:
        raise OutputError(f"{path} holds no dead letters, or ends early: {error!r}") from error
    for one in read_beside(path):
        yield (0, -1), one


class DeadLetterSource:
    """A source of the packets of dead letters, each once, with the topic and offset that they first had.

    done: the packets that were processed. A tombstone, and a private alert whose bytes were not kept, are left out.
    """

    def __init__(self, letters: Iterable[DeadLetter], batch_size: int) -> None:
        self._letters, self._batch_size = letters, batch_size
        self._stopping = False
        self.done: set[Packet] = set()

    def batches(self) -> Iterator[Batch]:
        packets = self._packets()
        while not self._stopping and (messages := tuple(islice(packets, self._batch_size))):
            yield Batch(messages)

    def _packets(self) -> Iterator[Message]:
        """A container of several bad alerts left a dead letter of each, and is read once."""
        seen: set[Packet] = set()
        for letter in self._letters:
            packet = letter.place[:3]
            if letter.payload is not None and packet not in seen:
                seen.add(packet)
                yield letter.message

    def commit(self, batch: Batch) -> None:
        """Note that these packets were processed; the dead letters stay where they are."""
        self.done |= {(one.topic, one.partition, one.offset) for one in batch.messages}

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping = True

    def close(self) -> None:
        """Nothing is open."""
