"""What the metrics learn of each batch."""

import time

from consumer import metrics
from consumer.message import Batch
from consumer.results import Results


def batch_begun(batch: Batch, size: int) -> None:
    """A batch was read; `size` messages would have filled it."""
    metrics.BATCH_FILL.set(len(batch.messages) / size)


def batch_done(results: Results) -> None:
    """A batch was committed."""
    metrics.CONSUMED.inc(results.read)
    metrics.DUPLICATES.inc(results.duplicates)
    metrics.BATCH_SIZE.observe(results.read)
    metrics.LAST_BATCH.set_to_current_time()
    for one in results.dead_letters:
        metrics.DEAD_LETTERS.labels(str(one.reason)).inc()
    now_ms = time.time_ns() // 1_000_000
    for made in results.classifications:
        metrics.CLASSIFIED.labels(made.class_).inc()
        metrics.HISTORY.observe(made.history_length)
        latency_ms = made.latency_ms(now_ms)
        if latency_ms is not None:
            metrics.LATENCY_SECONDS.observe(latency_ms / 1000)
