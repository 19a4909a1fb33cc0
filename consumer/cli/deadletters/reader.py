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

NO_LETTERS: Final = (
    KeyError, ValueError, TypeError, EOFError, OverflowError, IndexError, AttributeError, RecursionError, zlib.error,
    SchemaParseException,
)  # fmt: skip
"""What reading a file as Avro raises where it is none, is damaged, or is not of dead letters."""


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
    """Which dead letters are meant. file: an Avro file, None for the dead-letter topic. reasons: empty for all.

    recovered: also those that were recovered since. Raises ConfigError for a reason that is not known.
    """

    file: Path | None = None
    reasons: Sequence[str] = ()
    recovered: bool = False

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.reasons) - set(Reason)):
            raise ConfigError(f"--reason {unknown[0]} is none; known are {', '.join(Reason)}")

    def slips(self, settings: Settings) -> list[DeadLetterInfo]:
        """Those of the letters that are meant, as `every` gives them."""
        return [one for one in self.every(settings)[0] if self.means(one)]

    def every(self, settings: Settings) -> tuple[list[DeadLetterInfo], Recoveries]:
        """All letters in order of arrival, each alert's last one only, and what is known of recovered ones.

        A batch seen twice leaves two letters of an alert. Raises OutputError or BrokerError where they cannot be read.
        """
        last: dict[tuple[str, int, int, int], DeadLetterInfo] = {}
        recoveries = Recoveries()
        for at, found in self._all(settings):
            if isinstance(found, Recovered):
                recoveries.add(found)
            else:
                before = last.get(found.place)
                last[found.place] = DeadLetterInfo.of((at, *(before.letters if before else ())), found)
        slips = [replace(one, recovered_ms=recoveries.time_ms(one.packet, one.letters)) for one in last.values()]
        return slips, recoveries

    def means(self, slip: DeadLetterInfo) -> bool:
        named = not self.reasons or slip.reason in self.reasons
        return named and (self.recovered or slip.recovered_ms is None)

    def whole(self, settings: Settings, slips: Iterable[DeadLetterInfo]) -> Iterator[DeadLetter]:
        """Those letters with their bytes, read once more, one at a time. Raises OutputError or BrokerError."""
        last = {slip.letters[0] for slip in slips}
        return (one for at, one in self._all(settings) if at in last and isinstance(one, DeadLetter))

    def _all(self, settings: Settings) -> Iterator[tuple[DeadLetterOffset, DeadLetter | Recovered]]:
        return in_file(self.file) if self.file else in_topic(settings)


def in_topic(settings: Settings) -> Iterator[tuple[DeadLetterOffset, DeadLetter | Recovered]]:
    """Everything in the dead-letter topic, with its place there: letters, and what tells of recovered ones.

    Whoever may write to the topic may write nonsense: a letter whose headers are none of ours says that. Raises
    BrokerError for a message without any, as the topic is then another.
    """
    topic = settings.output.dead_letter_topic
    with closing(TopicReader(settings.kafka)) as scan:
        for one in scan.messages([topic]):
            at = int(one.partition() or 0), int(one.offset() or 0)
            here = Message(one.value(), topic, *at, max(one.timestamp()[1], 0))
            yield at, _told(here, dict(one.headers() or {}))


def _told(here: Message, headers: dict[str, str | bytes | None]) -> DeadLetter | Recovered:
    """What a message of the dead-letter topic is."""
    if not any(name.startswith(HEADER) for name in headers):
        place = f"message {here.offset} of {here.topic} [{here.partition}]"
        raise BrokerError(f"{place} is no dead letter (no {HEADER}reason); check output.dead_letter_topic")
    try:
        if told := headers.get(RECOVERED):
            return Recovered.read(told)
        return DeadLetter.from_headers(here.payload, headers)
    except KeyError as error:
        return DeadLetter.unreadable(here, f"{error.args[0]} is missing")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        return DeadLetter.unreadable(here, str(error))


def in_file(path: Path) -> Iterator[tuple[DeadLetterOffset, DeadLetter | Recovered]]:
    """Every letter of an Avro file that `estampa replay --dead-letters` wrote, with its number, and what is beside."""
    try:
        with path.open("rb") as file:
            for number, record in enumerate(fastavro.reader(file)):
                yield (0, number), DeadLetter.from_record(record)  # type: ignore[arg-type]
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}; give a file of dead letters") from error
    except NO_LETTERS as error:
        raise OutputError(f"{path} holds no dead letters, or ends early: {error!r}") from error
    for one in read_beside(path):
        yield (0, -1), one


class DeadLetterSource:
    """The packets of dead letters as the loop reads them, each once, under the names of where they first stood.

    done: the places of those that have been through. A tombstone, and a private alert whose bytes stayed where they
    were, cannot go again.
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
        """A container of several bad alerts left a letter of each, and goes once."""
        seen: set[Packet] = set()
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
