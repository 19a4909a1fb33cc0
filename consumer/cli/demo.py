"""`estampa demo`: a night through a real broker and a real store, both started for it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import Producer

from consumer.archive.source import ArchiveSource, find_archives
from consumer.cli.consume import consume
from consumer.cli.runtime import with_store
from consumer.configuration.settings import KafkaSettings, Settings
from consumer.embedded import create_topics, local_broker, local_store
from consumer.errors import BrokerError
from consumer.kafka.client import topics_of_the_night

log = structlog.get_logger()

PARTITIONS = 1
"""One keeps the archive's order, so that the demo and a replay of the same archive agree to the last digit."""
SESSION_MS = 2_000
"""The embedded broker waits half of this for other members before it lets the first one read."""


def demo(settings: Settings, archive: Path) -> dict[str, Any]:
    """Stream an archive through Kafka into the consumer, to the end; return the run's summary."""
    with local_broker() as broker, local_store() as store:
        topic = topics_of_the_night(datetime.now(UTC), (1,), 0, 0)[0]
        output = settings.output
        create_topics(broker, {topic: PARTITIONS, output.topic: 1, output.dead_letter_topic: 1})
        sent = send(archive, broker, topic)
        log.info("night_sent", alerts=sent, topic=topic)
        kafka = KafkaSettings(brokers=broker, group="estampa-demo", session_timeout_ms=SESSION_MS)
        here = with_store(settings, store).model_copy(update={"kafka": kafka})
        return consume(here, exit_at_end=True)


def send(archive: Path, broker: str, topic: str) -> int:
    """Produce every packet of `archive` to `topic`; return how many. Raises BrokerError unless all were taken."""
    producer = Producer({"bootstrap.servers": broker, "compression.type": "lz4", "message.max.bytes": 16 * 2**20})
    source = ArchiveSource(find_archives([archive]), batch_size=256)
    sent = 0
    for batch in source.batches():
        for message in batch.messages:
            producer.produce(topic, message.payload)
            sent += 1
        producer.flush()
    if left := producer.flush(30.0):
        raise BrokerError(f"broker {broker} did not take {left} of {sent} alerts")
    return sent
