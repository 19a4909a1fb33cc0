"""Where a group reads on in each partition: by what it committed, what the store holds, and where it began."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from consumer.configuration.settings import Settings
from consumer.errors import StoreError
from consumer.kafka.client import ASK_S
from consumer.kafka.watchdog import Watchdog
from consumer.message import Partition

log = structlog.get_logger()


class OffsetLedger(Protocol):
    """The offsets of the group that the store keeps: see `RedisStore`."""

    def applied(self, partition: Partition) -> int | None: ...
    def start(self) -> dict[Partition, int] | None: ...
    def begin(self, offsets: dict[Partition, int]) -> None: ...


class StartOffsets:
    """The start offsets of one consumer.

    since_ms: go back to this time, milliseconds since 1970, once in each partition.
    committed: of what is assigned, the offset before which the group has committed all; negative where it has nothing.
    """

    def __init__(
        self, settings: Settings, ledger: OffsetLedger, watchdog: Watchdog, since_ms: int | None = None
    ) -> None:
        self._kafka, self._store = settings.kafka, settings.store
        self._ledger, self._watchdog, self._since_ms = ledger, watchdog, since_ms
        self._offsets_rewound: set[Partition] = set()
        self.committed: dict[Partition, int] = {}

    def begin(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """At the group's first start, and only then, fix where it begins in the partitions there are."""
        if self._ledger.start() is not None:
            return
        held = (
            self._watchdog.request(consumer, partial(consumer.committed, partitions, timeout=ASK_S))
            if partitions
            else []
        )
        first = all(one.offset < 0 for one in held)
        begin = self._starts(consumer, partitions) if first and self._kafka.start != "earliest" else {}
        self._ledger.begin(begin)
        log.info("group_begins", group=self._kafka.group, start=self._kafka.start, partitions=len(begin))

    def assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The partitions with the offset where each is to be read on. Raises KafkaException or StoreError."""
        found = consumer.committed(partitions, timeout=ASK_S) if partitions else []
        started = self._ledger.start() or {}
        for one in found:
            place = one.topic, one.partition
            self.committed[place] = one.offset
            one.offset = self._position(place, one.offset, started.get(place, OFFSET_BEGINNING))
        return self._rewound(consumer, found)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Forget partitions that were revoked."""
        for one in partitions:
            self.committed.pop((one.topic, one.partition), None)

    def _starts(self, consumer: Consumer, partitions: list[TopicPartition]) -> dict[Partition, int]:
        """Where `kafka.start` lies in each partition. A time after the last message lies at the end."""
        offsets = {}
        for one in partitions:
            end = self._watchdog.request(consumer, partial(consumer.get_watermark_offsets, one, timeout=ASK_S))[1]
            offsets[one.topic, one.partition] = end
        if (time_ms := self._kafka.start_ms) is not None:
            offsets |= self._watchdog.request(consumer, lambda: _at(consumer, partitions, time_ms))
        return offsets

    def _position(self, place: Partition, committed: int, start: int) -> int:
        """Where to read on: what was committed, unless the store holds less than that."""
        applied = self._ledger.applied(place)
        if committed < 0:
            return start
        if applied is not None and applied >= committed:
            return committed
        topic, partition = place
        if self._store.on_data_loss == "stop":
            held = f"store holds {topic} [{partition}] up to {applied}, Kafka committed {committed}"
            raise StoreError(f"{held}: set store.on_data_loss to refill, or run `estampa replay --state-only`")
        log.warning("store_behind", topic=topic, partition=partition, applied=applied, committed=committed)
        return OFFSET_BEGINNING if applied is None else applied

    def _rewound(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The partitions at `since_ms`, where that is further back. It never skips what was not read."""
        if self._since_ms is None:
            return partitions
        fresh = [one for one in partitions if (one.topic, one.partition) not in self._offsets_rewound]
        found = _at(consumer, fresh, self._since_ms)
        for one in fresh:
            place = one.topic, one.partition
            self._offsets_rewound.add(place)
            if found.get(place, one.offset) < one.offset:
                log.info(
                    "offsets_rewound", topic=one.topic, partition=one.partition, to=found[place], before=one.offset
                )
                one.offset = found[place]
        return partitions


def _at(consumer: Consumer, partitions: Sequence[TopicPartition], time_ms: int) -> dict[Partition, int]:
    """The first offset of that time or later, of the partitions that have one.

    Kafka says so where there is none; the embedded broker says 0, which reads all again.
    """
    times = [TopicPartition(one.topic, one.partition, time_ms) for one in partitions]
    found = consumer.offsets_for_times(times, timeout=ASK_S) if times else []
    return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}
