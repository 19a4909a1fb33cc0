"""The sink against a real broker: a batch is published when every record of it is acknowledged, and not before."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from consumer.configuration.load import load_settings
from consumer.configuration.settings import Settings
from consumer.deadletters.dead_letter import DeadLetter
from consumer.embedded import create_topics
from consumer.errors import BadAlert, BrokerError, Reason
from consumer.kafka.sink import KafkaSink
from consumer.message import Message
from consumer.results import Results
from tests.support.line import read_topic, unique

pytestmark = pytest.mark.integration


def settings(broker: str, letters: str, **kafka: Any) -> Settings:
    output = {"topic": unique("classifications"), "dead_letter_topic": letters}
    return load_settings(None, {"kafka": {"brokers": broker, **kafka}, "output": output})


def batch(*payloads: bytes) -> Results:
    """A dead letter for each."""
    letters = [
        DeadLetter.of(Message(payload, "t", 0, offset), 0, BadAlert(Reason.EMPTY, "why"))
        for offset, payload in enumerate(payloads)
    ]
    return Results(len(letters), len(letters), 0, (), letters)


class Impatient:
    """A producer whose flush ends before the broker has said a word."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def flush(self, _: float) -> int:
        return self._producer.flush(0.0)


def test_records_that_nobody_acknowledged_are_not_published() -> None:
    sink = KafkaSink(settings("127.0.0.1:1", "letters"))
    sink._producer = Impatient(sink.producer)  # type: ignore[assignment]
    with pytest.raises(BrokerError, match=r"acknowledged 0 of 2 records"):
        sink.publish(batch(b"a", b"b"))
    sink.producer.purge()


def test_what_failed_once_is_not_held_against_the_next_batch(broker: str) -> None:
    """A report of an earlier batch, such as that of one which a member of a transaction gave up."""
    letters = unique("deadletters")
    create_topics(broker, {letters: 1})
    sink = KafkaSink(settings(broker, letters))
    sink._on_delivery(KafkaError(KafkaError._MSG_TIMED_OUT), None)  # type: ignore[arg-type]
    with pytest.raises(BrokerError, match="_MSG_TIMED_OUT"):
        sink.check()
    sink.publish(batch(b"a", b"b"))
    assert [one.value() for one in read_topic(broker, letters)] == [b"a", b"b"]
