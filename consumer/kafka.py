"""The night's topics, read as one member of a consumer group."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka import Message as KafkaMessage

from consumer import metrics
from consumer.broker import ASK_S, HEAR_S, REFUSALS, UNREACHABLE, client_config, explain, make_client
from consumer.errors import BrokerError, StoreError
from consumer.message import Batch, Message, Partition
from consumer.settings import Settings
from consumer.topics import wanted_topics

log = structlog.get_logger()

LOST: Final = (KafkaError._STATE, KafkaError._UNKNOWN_PARTITION)

NOTHING_TO_COMMIT: Final = (
    KafkaError._NO_OFFSET,
    KafkaError._STATE,
    KafkaError._ASSIGNMENT_LOST,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
)
"""The partitions are no longer ours, or not for now: whoever has them next reads on from the last commit."""


class Ledger(Protocol):
    """What the store knows of the group's places: see `RedisStore`."""

    def applied(self, partition: Partition) -> int | None: ...
    def start(self) -> dict[Partition, int] | None: ...
    def begin(self, offsets: dict[Partition, int]) -> None: ...


class KafkaSource:
    """The night's topics as one member of a consumer group.

    exit_at_end: stop once every partition has been read to its end. now: the clock that the window of topics follows.
    Raises BrokerError where the broker refuses, or stays away for `kafka.patience_s`.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        *,
        exit_at_end: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._kafka, self._store, self._batch = settings.kafka, settings.store, settings.batch
        self._ledger, self._exit_at_end, self._now = ledger, exit_at_end, now
        self._topics: list[str] = []
        self._assigned: dict[Partition, bool] = {}  # whether it was read to its end
        self._missing: set[str] = set()
        self._fault: BrokerError | StoreError | None = None  # found in a callback, which must not raise
        self._down_since: float | None = None
        self._joined_at: float | None = None
        self._waiting_since: float | None = None  # for the group to give us a part, be it none
        self._lag_due = 0.0
        self._stopping = False
        self._consumer = make_client(Consumer, self._config())

    def _config(self) -> dict[str, Any]:
        ours = {
            "group.id": self._kafka.group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 10_000,  # how soon a night's topic is noticed
            "fetch.wait.max.ms": 20,  # some brokers hold a fetch for all of it, though there are messages
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": self._kafka.session_timeout_ms,
            "heartbeat.interval.ms": max(self._kafka.session_timeout_ms // 10, 100),
            "error_cb": self._on_error,
        }
        return ours | client_config(self._kafka)

    @property
    def ready(self) -> bool:
        """Whether partitions are assigned and the broker answers."""
        return bool(self._assigned) and self._down_since is None

    def batches(self) -> Iterator[Batch]:
        """Yield batches of up to `batch.size` messages, each after `batch.wait_ms` at the latest; empty ones too."""
        self._begin()
        while not self._stopping:
            self._roll()
            received = self._consumer.consume(self._batch.size, self._batch.wait_ms / 1000)
            batch = Batch.from_topics(tuple(_message(one) for one in received if self._is_alert(one)))
            self._watch_broker()
            self._watch_group()
            self._measure_lag()
            yield batch
            if self._exit_at_end and not batch.messages and self._at_end():
                log.info("end_reached", partitions=len(self._assigned))
                return

    def commit(self, batch: Batch) -> None:
        """Store the batch's offsets, then commit, and see that it was done. A partition lost meanwhile is another's."""
        for (topic, partition), offset in batch.offsets.items():
            try:
                self._consumer.store_offsets(offsets=[TopicPartition(topic, partition, offset)])
            except KafkaException as error:
                if error.args[0].code() not in LOST:
                    raise explain(error.args[0], self._kafka) from error
                log.warning("partition_lost", topic=topic, partition=partition, uncommitted=offset)
        self._commit_stored()

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping = True

    def close(self) -> None:
        """Leave the group: its other members take over at once."""
        self._consumer.close()
        log.info("group_left", group=self._kafka.group)

    # Positions

    def _begin(self) -> None:
        """At the group's first start, and only then, fix where it begins in the topics that exist."""
        self._topics_there()  # fails early, with a reason, where the broker is not to be had
        if self._ledger.start() is not None:
            return
        partitions = self._partitions_there()
        committed = self._ask(lambda: self._consumer.committed(partitions, timeout=ASK_S)) if partitions else []
        first = all(one.offset < 0 for one in committed)
        begin = self._start_offsets(partitions) if first and self._kafka.start != "earliest" else {}
        self._ledger.begin(begin)
        log.info("group_begins", group=self._kafka.group, start=self._kafka.start, partitions=len(begin))

    def _start_offsets(self, partitions: list[TopicPartition]) -> dict[Partition, int]:
        """Where `kafka.start` lies in each partition. A time after the last message lies at the end."""
        time_ms = self._kafka.start_ms
        offsets = {}
        for one in partitions:
            end = self._ask(partial(self._consumer.get_watermark_offsets, one, timeout=ASK_S))[1]
            offsets[one.topic, one.partition] = end
        if time_ms is not None:
            asked = [TopicPartition(one.topic, one.partition, time_ms) for one in partitions]
            found = self._ask(lambda: self._consumer.offsets_for_times(asked, timeout=ASK_S))
            offsets |= {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}
        return offsets

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._assign(consumer, partitions)
        except KafkaException as error:
            self._fault = explain(error.args[0], self._kafka)
        except StoreError as error:
            self._fault = error

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        committed = consumer.committed(partitions, timeout=ASK_S) if partitions else []
        started = self._ledger.start() or {}
        for one in committed:
            place = one.topic, one.partition
            one.offset = self._position(place, one.offset, started.get(place, OFFSET_BEGINNING))
            self._assigned[place] = False
        self._joined_at, self._waiting_since = time.monotonic(), None
        if "cooperative" in self._config()["partition.assignment.strategy"]:
            consumer.incremental_assign(committed)
        else:
            consumer.assign(committed)
        log.info("partitions_assigned", partitions=[f"{one.topic}[{one.partition}]@{one.offset}" for one in committed])

    def _position(self, place: Partition, committed: int, start: int) -> int:
        """Where to read on: what was committed, unless the store holds less than that."""
        applied = self._ledger.applied(place)
        if committed < 0:
            return start
        if applied is not None and applied >= committed:
            return committed
        topic, partition = place
        if self._store.when_behind == "stop":
            held = f"store holds {topic} [{partition}] up to {applied}, Kafka committed {committed}"
            raise StoreError(f"{held}: set store.when_behind to refill, or run `estampa replay --state-only`")
        log.warning("store_behind", topic=topic, partition=partition, applied=applied, committed=committed)
        return OFFSET_BEGINNING if applied is None else applied

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            self._assigned.pop((one.topic, one.partition), None)
            metrics.forget_partition(one.topic, one.partition)
        self._waiting_since = None if self._assigned else time.monotonic()
        log.info("partitions_revoked", partitions=[f"{one.topic}[{one.partition}]" for one in partitions])

    # Topics

    def _roll(self) -> None:
        """Follow the window of topics into a new day."""
        topics = wanted_topics(self._kafka, self._now())
        if topics == self._topics:
            return
        self._topics = topics
        if not self._assigned:
            self._waiting_since = time.monotonic()
        self._consumer.subscribe(topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)
        log.info("subscribed", topics=topics)

    def _topics_there(self) -> dict[str, Any]:
        topics: dict[str, Any] = self._ask(lambda: self._consumer.list_topics(timeout=ASK_S)).topics
        if self._exit_at_end:
            wanted = wanted_topics(self._kafka, self._now())
            missing = [name for name in wanted if name not in topics]
            if missing and (self._kafka.topics or len(missing) == len(wanted)):
                raise BrokerError(
                    f"no topic {', '.join(missing)} at {self._kafka.brokers}; create it, or mend kafka.topics"
                )
        return topics

    def _partitions_there(self) -> list[TopicPartition]:
        topics = self._topics_there()
        there = [topics[name] for name in wanted_topics(self._kafka, self._now()) if name in topics]
        return [TopicPartition(topic.topic, partition) for topic in there for partition in topic.partitions]

    def _at_end(self) -> bool:
        """Every partition was read to its end; or there were more members than partitions, and none came to us."""
        if self._assigned:
            return all(self._assigned.values())
        waited = time.monotonic() - self._joined_at if self._joined_at is not None else 0.0
        return waited > 2 * self._kafka.session_timeout_ms / 1000

    # Messages and errors

    def _is_alert(self, received: KafkaMessage) -> bool:
        """Whether it is a message; an event is noted."""
        error = received.error()
        place = received.topic(), received.partition()
        if error is None:
            if place in self._assigned:
                self._assigned[place] = False
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            if place in self._assigned:
                self._assigned[place] = True
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self._note_missing(str(received.topic()))
        else:
            self._on_error(error)
        return False

    def _note_missing(self, topic: str) -> None:
        """A topic of the night may not be there yet, and one given by name may come: wait, and say so once."""
        if topic not in self._missing:
            self._missing.add(topic)
            log.log(30 if self._kafka.topics else 20, "topic_missing", topic=topic, waiting="it is read once it exists")

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in REFUSALS or error.fatal():
            self._fault = explain(error, self._kafka)
        elif error.code() in UNREACHABLE and self._down_since is None:
            self._down_since = time.monotonic()
            log.warning("broker_away", brokers=self._kafka.brokers, error=error.str())

    def _watch_broker(self) -> None:
        """A refusal ends the run, and so does a broker that stays away: to wait on would look like a quiet night."""
        if self._fault:
            raise self._fault
        if self._down_since is None:
            return
        try:
            self._consumer.list_topics(timeout=1.0)
        except KafkaException as error:
            if time.monotonic() - self._down_since > self._kafka.patience_s:
                raise explain(error.args[0], self._kafka) from error
        else:
            log.info("broker_back", away_s=round(time.monotonic() - self._down_since, 1))
            self._down_since = None

    def _watch_group(self) -> None:
        """A group that never answers looks like a quiet night too: where there is something to read, end the run."""
        patience_s = max(self._kafka.patience_s, 2 * self._kafka.session_timeout_ms / 1000)
        if self._waiting_since is None or time.monotonic() - self._waiting_since < patience_s:
            return
        if there := self._partitions_there():
            waited = f"group {self._kafka.group} gave us no part of {len(there)} partitions for {patience_s:g} s"
            raise BrokerError(f"{waited} at {self._kafka.brokers}: start again, and look at the broker if it stays so")
        self._waiting_since = time.monotonic()

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except KafkaException as error:
            self._consumer.poll(HEAR_S)  # before subscribing it brings no message, only why the broker refused
            raise self._fault or explain(error.args[0], self._kafka) from error

    def _commit_stored(self) -> None:
        """Commit synchronously. A group in the middle of a rebalance takes it with the next batch."""
        deadline = time.monotonic() + self._kafka.patience_s
        while True:
            try:
                committed = self._consumer.commit(asynchronous=False)
                refused = [one.error for one in committed if one.error]
                if not refused:
                    return
                error = refused[0]
            except KafkaException as failure:
                error = failure.args[0]
            if error.code() in NOTHING_TO_COMMIT:
                log.warning("commit_refused", reason=error.str())
                return
            if not (error.retriable() or error.code() in UNREACHABLE) or time.monotonic() > deadline:
                raise explain(error, self._kafka)
            time.sleep(0.2)

    def _measure_lag(self) -> None:
        if time.monotonic() < self._lag_due:
            return
        self._lag_due = time.monotonic() + 1.0
        for one in self._consumer.position([TopicPartition(*place) for place in self._assigned]):
            _, end = self._consumer.get_watermark_offsets(one, cached=True)
            if one.offset >= 0 and end >= 0:
                metrics.LAG.labels(one.topic, one.partition).set(max(end - one.offset, 0))


def _message(received: KafkaMessage) -> Message:
    kind, timestamp = received.timestamp()
    known = None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp
    place = str(received.topic()), int(received.partition() or 0), int(received.offset() or 0)
    return Message(received.value(), *place, known)
