"""`estampa consume`: the long-running service."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import structlog

from consumer.cli.runtime import load_inference, open_store, stopping
from consumer.configuration.settings import Settings
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.transaction import Transaction
from consumer.message import Batch
from consumer.monitoring.health import Heartbeat, Monitor
from consumer.pipeline import MessageSource, Pipeline, ResultSink

log = structlog.get_logger()

QUIET_S: Final = 5.0


def consume(settings: Settings, *, exit_at_end: bool, since_ms: int | None = None) -> dict[str, Any]:
    """Classify the night's topics until told to stop, or to their end. Returns the run's summary.

    since_ms: read again from this time on, milliseconds since 1970.
    """
    inference = load_inference(settings.model)
    store = open_store(settings, inference, settings.kafka.group)
    source = KafkaSource(settings, store, exit_at_end=exit_at_end, since_ms=since_ms)
    reading, sink = _ends(settings, source)
    heartbeat = Heartbeat(settings.monitor.liveness_timeout_s)
    checks = {"kafka": lambda: source.ready, "store": store.answers}
    monitor = Monitor(settings.monitor, heartbeat, checks) if settings.monitor.enabled else None
    pipeline = Pipeline(settings, Patient(reading, partial(waits_for, source)), inference, store, sink, heartbeat)
    try:
        with stopping(source.stop, pipeline.stop):
            pipeline.run()
    finally:
        source.close()
        sink.close()
        store.close()
        if monitor:
            monitor.close()
    summary = pipeline.report.summary()
    log.info("run_ended", **summary)
    return summary


def _ends(settings: Settings, source: KafkaSource) -> tuple[MessageSource, ResultSink]:
    """What the loop reads from and publishes to: two things, or one transaction that is both."""
    if settings.kafka.delivery == "exactly_once":
        both = Transaction(settings, source)
        return both, both
    return source, KafkaSink(settings)


def waits_for(source: KafkaSource) -> str:
    """What a source waits for that has nothing to read."""
    if not source.ready:
        return "an answer of the broker, and partitions of the group: see kafka.brokers and kafka.group"
    if not source.committed:
        return "a topic to appear, or a partition that no other member of the group has"
    return f"new messages in {len(source.committed)} partitions"


class Patient:
    """A source that logs what it waits for, once nothing has come for a while: again when that is something else."""

    def __init__(self, source: MessageSource, waits_for: Callable[[], str]) -> None:
        self._source, self._waits_for = source, waits_for

    def batches(self) -> Iterator[Batch]:
        quiet_since, told = time.monotonic(), ""
        for batch in self._source.batches():
            if batch.messages:
                quiet_since, told = time.monotonic(), ""
            elif time.monotonic() - quiet_since >= QUIET_S and told != (now := self._waits_for()):
                told = now
                log.info("waiting", what=told)
            yield batch

    def commit(self, batch: Batch) -> None:
        self._source.commit(batch)

    def close(self) -> None:
        self._source.close()
