"""A dead letter that its topic does not take goes without its bytes, and the stream goes on."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from prometheus_client import REGISTRY

from consumer.configuration.load import load_settings
from consumer.configuration.settings import Settings
from consumer.deadletters.dead_letter import DeadLetter
from consumer.errors import BadAlert, BrokerError, Reason
from consumer.kafka.sink import KafkaSink
from consumer.message import Message as Packet
from consumer.results import Results
from tests.consumer.kafka.test_source import MemoryLedger
from tests.consumer.kafka.test_transaction import Member, committed, settings
from tests.support.line import new_topics, produce, read_topic, unique

pytestmark = pytest.mark.integration

LIMIT = 100_000
LARGE, SMALL = os.urandom(3 * LIMIT), b"small"


def letter(payload: bytes, offset: int) -> DeadLetter:
    return DeadLetter.of(Packet(payload, "night", 3, offset), 0, BadAlert(Reason.EMPTY, "why"))


def results(*payloads: bytes) -> Results:
    letters = [letter(payload, offset) for offset, payload in enumerate(payloads)]
    return Results(len(letters), len(letters), 0, (), letters)


def configured(broker: str, topics: dict[str, str], **librdkafka: Any) -> Settings:
    kafka = {"brokers": broker, "group": unique("g"), "librdkafka": librdkafka}
    return load_settings(None, {"kafka": kafka, "output": {"dead_letter_topic": topics["dead"]}})


def read(broker: str, topics: dict[str, str]) -> list[tuple[bytes | None, int, bytes | None]]:
    """Of each letter its bytes, its position, and why it has none."""
    found = []
    for one in read_topic(broker, topics["dead"]):
        headers = dict(one.headers() or [])
        kept = DeadLetter.from_headers(one.value(), headers)
        assert (kept.message.topic, kept.message.partition, kept.reason) == ("night", 3, Reason.EMPTY)
        found.append((one.value(), kept.message.offset, headers.get("estampa.payload_omitted")))
    return found


def test_a_letter_as_large_as_a_packet_may_be_keeps_its_bytes(broker: str) -> None:
    topics = new_topics(broker)
    packet = os.urandom(2**21)
    limited = configured(broker, topics)
    limits = limited.limits.model_copy(update={"packet_bytes": len(packet)})
    sink = KafkaSink(limited.model_copy(update={"limits": limits}))
    sink.publish(results(packet))
    sink.close()
    assert read(broker, topics) == [(packet, 0, None)]


WHY = b"its topic takes no record so large"


def omitted() -> float:
    return REGISTRY.get_sample_value("estampa_dead_letter_payloads_omitted_total") or 0.0


class Refusing:
    """A producer whose topic has a max.message.bytes: the embedded broker's topics have none."""

    def __init__(self, producer: Producer) -> None:
        self._producer, self._refused, self._told = producer, list[Callable[[], None]](), 0

    def produce(self, topic: str, value: bytes | None, key: Any, *, headers: Any, on_delivery: Any) -> None:
        if len(value or b"") > LIMIT:
            error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
            self._refused.append(lambda: on_delivery(error, None))
        else:
            self._producer.produce(topic, value, key, headers=headers, on_delivery=on_delivery)

    def flush(self, timeout: float) -> int:
        while self._refused:
            self._refused.pop()()
            self._told += 1
        return self._producer.flush(timeout)

    def poll(self, timeout: float) -> int:
        return self._producer.poll(timeout)


def test_a_letter_that_the_broker_refuses_goes_without_its_bytes_and_says_so(broker: str) -> None:
    topics = new_topics(broker)
    sink, before = KafkaSink(configured(broker, topics)), omitted()
    sink._producer = Refusing(sink._producer)  # type: ignore[assignment]
    sink.publish(results(SMALL, LARGE, SMALL))
    sink.publish(results(SMALL))
    assert read(broker, topics) == [(SMALL, 0, None), (SMALL, 2, None), (None, 1, WHY), (SMALL, 0, None)]
    assert omitted() == before + 1


def test_a_letter_larger_than_the_producer_may_send_goes_without_its_bytes(broker: str) -> None:
    topics = new_topics(broker)
    sink = KafkaSink(configured(broker, topics, **{"message.max.bytes": LIMIT}))
    sink.publish(results(LARGE, SMALL, LARGE))
    assert read(broker, topics) == [(SMALL, 1, None), (None, 0, WHY), (None, 2, WHY)]


def test_a_letter_that_is_refused_without_its_bytes_too_ends_the_run_and_names_the_mend(broker: str) -> None:
    class Small(Refusing):
        def produce(self, topic: str, value: bytes | None, key: Any, *, headers: Any, on_delivery: Any) -> None:
            super().produce(topic, value or LARGE, key, headers=headers, on_delivery=on_delivery)

    sink = KafkaSink(configured(broker, new_topics(broker)))
    sink._producer = Small(sink._producer)  # type: ignore[assignment]
    with pytest.raises(BrokerError, match=r"give the topic max\.message\.bytes above limits.packet_bytes"):
        sink.publish(results(LARGE))


class Aborting(Refusing):
    """Of a transaction, which a refusal ends: nothing more is taken until it is aborted."""

    def __init__(self, producer: Producer) -> None:
        super().__init__(producer)
        self.aborted = 0

    def produce(self, topic: str, value: bytes | None, key: Any, *, headers: Any, on_delivery: Any) -> None:
        if self._told > self.aborted:
            raise KafkaException(KafkaError(KafkaError._STATE))
        super().produce(topic, value, key, headers=headers, on_delivery=on_delivery)

    def abort_transaction(self, timeout: float) -> None:
        self.aborted = self._told
        self._producer.abort_transaction(timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def test_a_transaction_that_such_a_letter_ends_is_made_again_without_its_bytes(broker: str) -> None:
    topics = new_topics(broker)
    produce(broker, topics["topic"], [b"1"])
    base = settings(broker, topics)
    member = Member(base, MemoryLedger())
    refusing = Aborting(member.both._producer)
    member.both._producer = member.both._sink._producer = refusing  # type: ignore[assignment]
    batch = member.next()
    member.both.publish(results(LARGE))
    member.both.commit(batch)
    member.close()
    assert (committed(base, topics), refusing.aborted) == (1, 1)
    assert read(broker, topics) == [(None, 0, WHY)]


def test_in_a_transaction_too_and_the_offsets_are_committed(broker: str) -> None:
    topics = new_topics(broker)
    produce(broker, topics["topic"], [b"1", b"2"])
    base = settings(broker, topics, librdkafka={"message.max.bytes": LIMIT})
    member = Member(base, MemoryLedger())
    batch = member.next()
    member.both.publish(results(LARGE))
    member.both.commit(batch)
    member.close()
    assert committed(base, topics) == len(batch.messages)
    assert read(broker, topics)[0] == (None, 0, WHY)
