"""Whole topics, read once from beginning to end outside the group: for `audit` and for dead letters."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from consumer.configuration.settings import KafkaSettings
from consumer.errors import BrokerError
from consumer.kafka.client import ASK_S, REASON_S, REFUSALS, client_config, explain, make_client
from consumer.message import Partition

CHUNK: Final = 500


class TopicReader:
    """Reads whole topics. It joins no group and commits nothing, so it may run beside the consumers.

    Raises BrokerError where the broker refuses, a topic is not there, or nothing comes for `kafka.broker_timeout_s`.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._kafka = settings
        self._refused: KafkaError | None = None
        ours = {
            "group.id": settings.group,  # where access goes by group, this one is allowed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
            "error_cb": self._on_error,
        }
        self._consumer = make_client(Consumer, ours | client_config(settings))

    def messages(self, topics: Sequence[str], since_ms: int | None = None) -> Iterator[KafkaMessage]:
        """What `topics` hold now, each partition in order; from `since_ms` on, milliseconds since 1970, where given."""
        starts = self._starts(self._partitions(topics), since_ms)
        self._consumer.assign(starts)
        pending = {(one.topic, one.partition) for one in starts}
        last_received = time.monotonic()
        while pending:
            received = self._consumer.consume(CHUNK, 0.5)
            for one in received:
                if self._is_message(one, pending):
                    yield one
            if received:
                last_received = time.monotonic()  # not before: the caller may take long over each message
            self._check(last_received, pending)

    def committed(self, topics: Sequence[str]) -> dict[Partition, int]:
        """What `kafka.group` has committed, of the partitions where it has."""
        found = self._request(lambda: self._consumer.committed(self._partitions(topics), timeout=ASK_S))
        return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}

    def topics(self) -> dict[str, Any]:
        """All topics that this client may see: name → metadata."""
        found: dict[str, Any] = self._request(lambda: self._consumer.list_topics(timeout=ASK_S)).topics
        return found

    def close(self) -> None:
        self._consumer.close()

    def _partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        known = self.topics()
        if missing := [name for name in topics if name not in known]:
            raise BrokerError(f"no topic {', '.join(missing)} at {self._kafka.brokers}; check the name")
        return [TopicPartition(name, number, OFFSET_BEGINNING) for name in topics for number in known[name].partitions]

    def _starts(self, partitions: list[TopicPartition], since_ms: int | None) -> list[TopicPartition]:
        if since_ms is None or not partitions:
            return partitions
        times = [TopicPartition(one.topic, one.partition, since_ms) for one in partitions]
        found = self._request(lambda: self._consumer.offsets_for_times(times, timeout=ASK_S))
        offsets = [one.offset if one.offset >= 0 else OFFSET_END for one in found]
        return [TopicPartition(one.topic, one.partition, at) for one, at in zip(found, offsets, strict=True)]

    def _is_message(self, received: KafkaMessage, pending: set[Partition]) -> bool:
        error = received.error()
        if error is None:
            return True
        if error.code() != KafkaError._PARTITION_EOF:
            raise explain(error, self._kafka)
        pending.discard((str(received.topic()), int(received.partition() or 0)))
        return False

    def _check(self, last_received: float, pending: set[Partition]) -> None:
        if self._refused:
            raise explain(self._refused, self._kafka)
        if pending and time.monotonic() - last_received > self._kafka.broker_timeout_s:
            waiting = ", ".join(f"{topic} [{number}]" for topic, number in sorted(pending))
            raise BrokerError(
                f"Kafka at {self._kafka.brokers} sent nothing of {waiting} for {self._kafka.broker_timeout_s} s"
            )

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in REFUSALS or error.fatal():
            self._refused = error

    def _request(self, request: Any) -> Any:
        try:
            return request()
        except KafkaException as error:
            self._consumer.poll(REASON_S)  # nothing is assigned yet: it brings only the reason of a refusal
            raise explain(self._refused or error.args[0], self._kafka) from error
