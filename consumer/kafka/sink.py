"""Publishes results to Kafka: classifications to one topic, dead letters to another, each record acknowledged."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final

import fastavro
import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from consumer import metrics
from consumer.configuration.settings import OutputSettings, Settings
from consumer.deadletters.dead_letter import DeadLetter
from consumer.decoding.container import avro_long
from consumer.errors import BrokerError
from consumer.kafka.client import ASK_S, REFUSALS, client_config, explain, make_client
from consumer.kafka.published import SCHEMAS
from consumer.results import Classification, Results
from schemas import load_schema

Report = Callable[[KafkaError | None, KafkaMessage | None], None]
Headers = list[tuple[str, str | bytes | None]]

log = structlog.get_logger()

SYNC: Final = b"estampa classify"
"""The 16 bytes that close a block. Fixed, so that equal records are equal bytes."""


class PayloadsRefused(Exception):  # noqa: N818 - the caller publishes again
    """The topic refused dead letters as too large; published again, they leave their bytes out."""


class Encoder:
    """Classification → the bytes of one message. The container's header is made once: it is the same every time."""

    def __init__(self, output: OutputSettings) -> None:
        self._format, self._encoding = output.record_format, output.avro_encoding
        self._schema: Any = fastavro.parse_schema(load_schema(SCHEMAS[output.record_format]))
        header = BytesIO()
        fastavro.writer(header, self._schema, [], sync_marker=SYNC)
        self._header = header.getvalue()

    def encode(self, made: Classification) -> bytes:
        record = made.record() if self._format == "estampa" else made.alerce_record()
        body = BytesIO()
        fastavro.schemaless_writer(body, self._schema, record)
        if self._encoding == "schemaless":
            return body.getvalue()
        data = body.getvalue()
        return self._header + avro_long(1) + avro_long(len(data)) + data + SYNC


class KafkaSink:
    """Publishes a batch and waits until the broker has acknowledged every record.

    more: further keys for librdkafka. producer: the client, for transactions.
    """

    def __init__(self, settings: Settings, more: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._kafka, self._output = settings.kafka, settings.output
        self._encoder = Encoder(settings.output)
        self._failures: list[KafkaError] = []
        self._delivered = self._unplaced = 0
        self._too_large: dict[tuple[str, int, int, int], DeadLetter] = {}
        self._transactional = "transactional.id" in more
        ours = {
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 5,
            "delivery.timeout.ms": self._kafka.delivery_timeout_ms,
            "message.max.bytes": settings.limits.packet_bytes + 2**20,  # a dead letter is a whole packet
            "error_cb": self._on_error,
        }
        self._producer = make_client(Producer, ours | dict(more) | client_config(settings.kafka))

    @property
    def producer(self) -> Producer:
        return self._producer

    def publish(self, results: Results) -> None:
        """Return when all records are acknowledged. Raises BrokerError if they are not within `delivery_timeout_ms`.

        A dead letter larger than its topic takes is published without its bytes: they stay where the packet was read.
        In a transaction, which such a refusal ends, raises PayloadsRefused; the next call leaves the bytes out.
        """
        self._failures, self._delivered, self._unplaced = [], 0, 0
        for made in results.classifications:
            self._produce(self._output.topic, made.objectId, self._encoder.encode(made), [], self._on_delivery)
        known = len(self._too_large)
        for dead in results.dead_letters:
            self._produce_dead_letter(dead)
        self._flush()
        if len(self._too_large) > known:
            if self._transactional:
                raise PayloadsRefused
            for dead in self._too_large.values():
                self._produce_dead_letter(dead)
            self._flush()
        self._too_large.clear()
        expected = len(results.classifications) + len(results.dead_letters)
        self.check()
        if self._delivered != expected:
            raise BrokerError(f"Kafka at {self._kafka.brokers} acknowledged {self._delivered} of {expected} records")
        if self._unplaced:
            raise BrokerError(
                f"Kafka at {self._kafka.brokers} acknowledged records without an offset, as "
                "repeats: it may have lost them in a crash; the batch is published again at the next start"
            )

    def check(self) -> None:
        """Raise BrokerError where the broker has refused this client or a record."""
        with self._explained():
            self._producer.poll(0)
        if self._failures:
            raise explain(self._failures[0], self._kafka)

    def close(self) -> None:
        """Every batch was flushed: nothing is left to send."""

    def _produce_dead_letter(self, dead: DeadLetter) -> None:
        sent = dead.without_payload("its topic takes no record so large") if dead.place in self._too_large else dead
        on_delivery = partial(self._on_letter, sent)
        self._produce(self._output.dead_letter_topic, None, sent.payload, sent.headers(), on_delivery)

    def _flush(self) -> None:
        with self._explained():
            self._producer.flush(self._kafka.delivery_timeout_ms / 1000 + ASK_S)

    def _produce(self, topic: str, key: str | None, value: bytes | None, headers: Headers, on_delivery: Report) -> None:
        with self._explained():
            while True:
                try:
                    self._producer.produce(topic, value, key, headers=headers, on_delivery=on_delivery)
                except BufferError:  # the queue is full: let some of it go first
                    self._producer.poll(0.1)
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                        raise
                    on_delivery(error.args[0], None)  # larger than the client's own message.max.bytes
                    return
                else:
                    self._producer.poll(0)
                    return

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the client raises into a BrokerError of one line."""
        try:
            yield
        except KafkaException as error:
            raise explain(error.args[0], self._kafka) from error
        except SystemError as error:
            raise self._client_failure(error) from error

    def _client_failure(self, error: SystemError) -> BrokerError:
        """The cause behind a SystemError of the client.

        A delivery report that runs while the client is about to raise turns the cause into this error's cause, or
        loses it; aborting a transaction raises it again.
        """
        cause = error.__cause__
        if self._transactional and not isinstance(cause, KafkaException):
            try:
                self._producer.abort_transaction(ASK_S)
            except KafkaException as again:
                cause = again
        if isinstance(cause, KafkaException):
            return explain(cause.args[0], self._kafka)
        return BrokerError(f"Kafka's client at {self._kafka.brokers} failed, see its own line above; start again")

    def _on_letter(self, dead: DeadLetter, error: KafkaError | None, record: KafkaMessage | None) -> None:
        if error is None or error.code() != KafkaError.MSG_SIZE_TOO_LARGE or dead.payload is None:
            self._on_delivery(error, record)
            return
        self._too_large[dead.place] = dead
        metrics.PAYLOADS_OMITTED.inc()
        place = ":".join(map(str, dead.place))
        log.warning("dead_letter_payload_omitted", place=place, bytes=len(dead.payload), reason=str(dead.reason))

    def _on_delivery(self, error: KafkaError | None, record: KafkaMessage | None) -> None:
        """A broker that noted a batch's number and crashed before it wrote the batch acknowledges the retry as a
        repeat, without an offset.
        """
        if error is None:
            self._delivered += 1
            self._unplaced += record is not None and record.offset() is None
        else:
            self._failures.append(error)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in REFUSALS or error.fatal():
            self._failures.append(error)
        else:
            log.warning("producer_error", error=error.str())
