"""In-memory twins of what the loop plugs into: a source, a store, a sink. They keep the real ones' promises."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.deadletters.dead_letter import DeadLetter
from consumer.errors import StoreError
from consumer.message import Batch, Message, Partition
from consumer.results import Classification, Results
from consumer.store.sequences import HistoryWindow, NewEntries, SequencePrefix, StoredSequence, entry_dtype

TOPIC = "ztf_20260101_programid1"


def messages_of(payloads: Sequence[bytes | None], first: int = 0) -> list[Message]:
    """As they would come from partition 0 of a topic."""
    return [Message(payload, TOPIC, 0, first + at, 1_700_000_000_000) for at, payload in enumerate(payloads)]


def batches_of(payloads: Sequence[bytes | None], size: int) -> list[Batch]:
    messages = messages_of(payloads)
    return [Batch.from_topics(messages[start : start + size]) for start in range(0, len(messages), size)]


@dataclass
class MemorySource:
    """Yields given batches. events: what was done, in order, shared with the other twins."""

    given: Sequence[Batch]
    events: list[str] = field(default_factory=list)
    committed: dict[Partition, int] = field(default_factory=dict)

    def batches(self) -> Iterator[Batch]:
        yield from self.given

    def commit(self, batch: Batch) -> None:
        self.events.append("commit")
        self.committed.update(batch.offsets)

    def close(self) -> None:
        self.events.append("close")


@dataclass
class MemorySink:
    """Keeps what is published. failing: publish raises it, as many times as there are."""

    events: list[str] = field(default_factory=list)
    classifications: list[Classification] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    failing: list[Exception] = field(default_factory=list)

    def publish(self, results: Results) -> None:
        if self.failing:
            raise self.failing.pop()
        self.events.append("publish")
        self.classifications += results.classifications
        self.dead_letters += results.dead_letters

    def close(self) -> None:
        self.events.append("close")


@dataclass
class Data:
    """What outlives a store: a server's keys. sequences: key → candid → packed entry, as in Redis."""

    sequences: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    applied: dict[Partition, int] = field(default_factory=dict)
    start: dict[Partition, int] = field(default_factory=dict)
    begun: bool = False


class MemoryStore:
    """Sequences in a dict, with RedisStore's promises: tests/support/store_contract.py holds both to them."""

    def __init__(
        self,
        latent: int,
        max_history: int = 128,
        history_days: float = 365.0,
        dtype: str = "float32",
        data: Data | None = None,
        events: list[str] | None = None,
    ) -> None:
        self.data = data if data is not None else Data()
        self._dtype = entry_dtype(latent, dtype)
        self._window = HistoryWindow(max_history, history_days)
        self._max_history = max_history
        self._surplus: dict[str, list[int]] = {}
        self._written: dict[Partition, int] = {}
        self._events = events if events is not None else []

    def remember(self, entries: NewEntries, offsets: Mapping[Partition, int]) -> list[SequencePrefix]:
        self._events.append("remember")
        self._advance(offsets)
        values = entries.packed(self._dtype)
        histories: dict[int, SequencePrefix] = {}
        for key, rows in entries.rows_by_key().items():
            fields = self.data.sequences.setdefault(key, {})
            for candid in self._surplus.pop(key, []):
                fields.pop(b"%d" % candid, None)
            names = [b"%d" % entries.candid[row] for row in rows]
            added = [name not in fields for name in names]
            for name, row in zip(names, rows, strict=True):
                fields.setdefault(name, values[row])
            held = StoredSequence.unpack(fields, self._dtype)
            candids = [int(entries.candid[row]) for row in rows]
            histories |= zip(rows, self._window.histories(held, candids, added), strict=True)
            self._surplus[key] = [int(candid) for candid in held.candid[: -self._max_history]]
        return [histories[row] for row in range(len(entries))]

    def sequence(self, key: str) -> StoredSequence:
        return StoredSequence.unpack(self.data.sequences.get(key, {}), self._dtype)

    def applied(self, partition: Partition) -> int | None:
        self._written.pop(partition, None)
        return self.data.applied.get(partition)

    def start(self) -> dict[Partition, int] | None:
        return dict(self.data.start) if self.data.begun else None

    def begin(self, offsets: Mapping[Partition, int]) -> None:
        self.data.start = {**offsets, **self.data.start}
        self.data.begun = True

    def close(self) -> None:
        """The data stays."""

    def _advance(self, offsets: Mapping[Partition, int]) -> None:
        for partition, offset in offsets.items():
            held = self.data.applied.get(partition, -1)
            if held < self._written.get(partition, -1):
                raise StoreError(f"store lost writes: it holds {partition} up to {held}")
            self.data.applied[partition] = self._written[partition] = max(held, offset)
