"""`estampa consume`: the long-running service."""

from typing import Any

import structlog

from consumer.commands.parts import load_inference, open_store, stopping
from consumer.health import Monitor, Pulse
from consumer.kafka import KafkaSource
from consumer.pipeline import Pipeline
from consumer.protocols import Sink, Source
from consumer.publish import KafkaSink
from consumer.settings import Settings
from consumer.transaction import Transaction

log = structlog.get_logger()


def consume(settings: Settings, *, exit_at_end: bool, since_ms: int | None = None) -> dict[str, Any]:
    """Classify the night's topics until told to stop, or to their end. Returns the run's summary.

    since_ms: read again from this time on, milliseconds since 1970.
    """
    inference = load_inference(settings.model)
    store = open_store(settings, inference, settings.kafka.group)
    source = KafkaSource(settings, store, exit_at_end=exit_at_end, since_ms=since_ms)
    reading, sink = _ends(settings, source)
    pulse = Pulse(settings.monitor.stalled_s)
    checks = {"kafka": lambda: source.ready, "store": store.answers}
    monitor = Monitor(settings.monitor, pulse, checks) if settings.monitor.enabled else None
    pipeline = Pipeline(settings, reading, inference, store, sink, pulse)
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


def _ends(settings: Settings, source: KafkaSource) -> tuple[Source, Sink]:
    """What the loop reads from and publishes to: two things, or one transaction that is both."""
    if settings.kafka.delivery == "exactly_once":
        both = Transaction(settings, source)
        return both, both
    return source, KafkaSink(settings)
