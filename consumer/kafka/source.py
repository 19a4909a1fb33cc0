"""The night's topics, read as one member of a consumer group."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from consumer import metrics
from consumer.configuration.settings import Settings
from consumer.errors import BrokerError, StoreError
from consumer.kafka.client import (
    ASK_S,
    UNREACHABLE,
    client_config,
    explain,
    make_client,
    message_time_ms,
    subscribed_topics,
)
from consumer.kafka.offsets import OffsetLedger, StartOffsets
from consumer.kafka.watchdog import Watchdog
from consumer.message import Batch, Message, Partition

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
"""The partitions belong to another member, or to none for now: the next one reads on from the last commit."""


class KafkaSource:
    """The night's topics as one member of a consumer group.

    exit_at_end: stop once every partition has been read to its end. since_ms: go back to this time first, milliseconds
    since 1970. now: the clock that the window of topics follows.
    Raises BrokerError where the broker refuses, or does not answer for `kafka.broker_timeout_s`.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: OffsetLedger,
        *,
        exit_at_end: bool = False,
        since_ms: int | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._kafka, self._batch = settings.kafka, settings.batch
        self._exit_at_end, self._now = exit_at_end, now
        self._topics: list[str] = []
        self._assigned: dict[Partition, int | None] = {}  # partition → the end that it was read to, None before one
        self._missing: set[str] = set()
        self._untimed: set[str] = set()
        self._member: str | None = None
        self._joined_at: float | None = None
        self._lag_due = 0.0
        self._stopping = False
        self._watchdog = Watchdog(settings)
        self._positions = StartOffsets(settings, ledger, self._watchdog, since_ms)
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
            "fetch.wait.max.ms": 10,  # some brokers hold a fetch for all of it, though there are messages
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": self._kafka.session_timeout_ms,
            "heartbeat.interval.ms": max(self._kafka.session_timeout_ms // 10, 100),
            "error_cb": self._watchdog.on_error,
        }
        return ours | client_config(self._kafka)

    @property
    def ready(self) -> bool:
        """Whether the broker answers and the group has assigned partitions, or none: without a topic it never does."""
        assigned = not self._watchdog.awaiting_assignment or self._missing.issuperset(self._topics)
        return self._watchdog.up and bool(self._topics) and assigned

    @property
    def committed(self) -> dict[Partition, int]:
        """Assigned partition → the offset that the group has committed, negative for none."""
        return self._positions.committed

    def membership(self) -> Any:
        """The group's metadata of this member, for a transaction. Raises BrokerError where the member has changed."""
        found = self._consumer.consumer_group_metadata()  # before the check: it is metadata of the member checked
        if self._consumer.memberid() != self._member:
            raise BrokerError(
                f"group {self._kafka.group} went on without this member: nothing was published; start again"
            )
        return found

    def batches(self) -> Iterator[Batch]:
        """Yield batches of up to `batch.size` messages, each after `batch.wait_ms` at the latest; empty ones too."""
        self._positions.begin(self._consumer, self._existing_partitions())
        while not self._stopping:
            self._roll()
            batch = Batch.from_topics(tuple(self._message(one) for one in self._received() if self._is_alert(one)))
            self._watchdog.check_broker(self._consumer)
            self._watchdog.check_group(lambda: len(self._existing_partitions()))
            self._watchdog.check_flow(len(batch.messages), self._waiting)
            self._measure_lag()
            yield batch
            if self._exit_at_end and not batch.messages and self._at_end():
                log.info("end_reached", partitions=len(self._assigned))
                return

    def commit(self, batch: Batch) -> None:
        """Store the batch's offsets, commit them and check the result. A partition lost meanwhile is left out."""
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

    # The group

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._assign(consumer, partitions)
        except KafkaException as error:
            self._watchdog.fault = explain(error.args[0], self._kafka)
        except StoreError as error:
            self._watchdog.fault = error

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        placed = self._positions.assigned(consumer, partitions)
        self._assigned |= {(one.topic, one.partition): None for one in placed}
        self._joined_at, self._member = time.monotonic(), consumer.memberid()
        self._watchdog.assigned()
        if "cooperative" in self._config()["partition.assignment.strategy"]:
            consumer.incremental_assign(placed)
        else:
            consumer.assign(placed)
        log.info("partitions_assigned", partitions=[f"{one.topic}[{one.partition}]@{one.offset}" for one in placed])

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            self._assigned.pop((one.topic, one.partition), None)
            metrics.forget_partition(one.topic, one.partition)
        self._positions.revoked(partitions)
        if not self._assigned:
            self._watchdog.expect_assignment()
        log.info("partitions_revoked", partitions=[f"{one.topic}[{one.partition}]" for one in partitions])

    # Topics

    def _roll(self) -> None:
        """Follow the window of topics into a new day."""
        topics = subscribed_topics(self._kafka, self._now())
        if topics == self._topics:
            return
        if not self._assigned:
            self._watchdog.expect_assignment()
        self._consumer.subscribe(topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)
        self._topics = topics
        log.info("subscribed", topics=topics)

    def _existing_topics(self) -> dict[str, Any]:
        metadata = self._watchdog.request(self._consumer, lambda: self._consumer.list_topics(timeout=ASK_S))
        topics: dict[str, Any] = metadata.topics
        if self._exit_at_end:
            subscribed = subscribed_topics(self._kafka, self._now())
            missing = [name for name in subscribed if name not in topics]
            if missing and (self._kafka.topics or len(missing) == len(subscribed)):
                raise BrokerError(
                    f"no topic {', '.join(missing)} at {self._kafka.brokers}; create it, or change kafka.topics"
                )
        return topics

    def _existing_partitions(self) -> list[TopicPartition]:
        topics = self._existing_topics()
        there = [topics[name] for name in subscribed_topics(self._kafka, self._now()) if name in topics]
        return [TopicPartition(topic.topic, partition) for topic in there for partition in topic.partitions]

    def _at_end(self) -> bool:
        """Whether each partition was read to its end, or this member has none as there are fewer than members."""
        if self._assigned:
            return all(reached is not None for reached in self._assigned.values())
        waited = time.monotonic() - self._joined_at if self._joined_at is not None else 0.0
        return waited > 2 * self._kafka.session_timeout_ms / 1000

    # Messages and errors

    def _received(self) -> list[KafkaMessage]:
        try:
            received: list[KafkaMessage] = self._consumer.consume(self._batch.size, self._batch.wait_ms / 1000)
        except KafkaException as error:  # fatal: another member has this group.instance.id
            raise explain(error.args[0], self._kafka) from error
        return received

    def _is_alert(self, received: KafkaMessage) -> bool:
        """Whether it is a message of a partition that is assigned; the end of a partition and an error are noted."""
        error = received.error()
        place = received.topic(), received.partition()
        if error is None:
            if place not in self._assigned:
                return False
            self._assigned[place] = None
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            if place in self._assigned:
                self._assigned[place] = received.offset()
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self._note_missing(str(received.topic()))
        else:
            self._watchdog.on_error(error)
        return False

    def _message(self, received: KafkaMessage) -> Message:
        place = str(received.topic()), int(received.partition() or 0), int(received.offset() or 0)
        time_ms = message_time_ms(received)
        if time_ms is None and place[0] not in self._untimed:
            self._untimed.add(place[0])
            log.warning("kafka_time_unusable", topic=place[0], offset=place[2], milliseconds=received.timestamp()[1])
        return Message(received.value(), *place, time_ms)

    def _note_missing(self, topic: str) -> None:
        """A topic may be created later: it is waited for, and logged once."""
        if topic not in self._missing:
            self._missing.add(topic)
            log.log(30 if self._kafka.topics else 20, "topic_missing", topic=topic, action="it is read once it exists")

    def _commit_stored(self) -> None:
        """Commit synchronously. During a rebalance the commit is refused, and the next batch's includes it."""
        deadline = time.monotonic() + self._kafka.broker_timeout_s
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
        for one in self._positions_now():
            _, end = self._consumer.get_watermark_offsets(one, cached=True)
            if one.offset >= 0 and end >= 0:
                metrics.LAG.labels(one.topic, one.partition).set(max(end - one.offset, 0))

    def _waiting(self) -> int:
        """Number of messages that the broker has and has not sent.

        A partition that was at its end, and whose end has moved since, is counted at the next check only: markers of
        transactions move the end and are never sent.
        """
        found = 0
        for one in self._positions_now():
            try:
                begin, end = self._consumer.get_watermark_offsets(one, timeout=ASK_S)
            except KafkaException as error:
                raise explain(error.args[0], self._kafka) from error
            place = one.topic, one.partition
            reached = self._assigned[place]
            if reached is None:
                found += end - max(one.offset, begin)
            elif end > reached:
                self._assigned[place] = None
        return found

    def _positions_now(self) -> list[TopicPartition]:
        positions: list[TopicPartition] = self._consumer.position([TopicPartition(*one) for one in self._assigned])
        return positions
