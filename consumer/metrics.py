"""Every metric of estampa, with its unit and what a bad value means."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)

CONSUMED: Final = Counter("estampa_consumed_total", "Alerts read. Flat while the telescope observes: nothing arrives.")
CLASSIFIED: Final = Counter("estampa_classified_total", "Alerts classified, by most probable class.", ["class_name"])
DEAD_LETTERS: Final = Counter("estampa_dead_letters_total", "Alerts not classified. Above 1 %: look.", ["reason"])
PAYLOADS_OMITTED: Final = Counter(
    "estampa_dead_letter_payloads_omitted_total",
    "Dead letters larger than their topic takes, sent without their bytes. Any: raise its max.message.bytes.",
)
DUPLICATES: Final = Counter("estampa_duplicates_total", "Repeated candids dropped. Many: the broker redelivers.")
DAMAGED_ENTRIES: Final = Counter(
    "estampa_damaged_entries_total", "Stored latents that are no numbers, dropped. Any: another writes to the store."
)
BATCH_SIZE: Final = Histogram("estampa_batch_alerts", "Alerts a batch.", buckets=SIZES)
BATCH_FILL: Final = Gauge(
    "estampa_batch_fill_ratio", "Messages of the last batch over batch.size. At 1 for long: the consumer lags."
)
STAGE_SECONDS: Final = Histogram(
    "estampa_stage_seconds",
    "Seconds a batch spends in each stage. The largest is the bottleneck.",
    ["stage"],
    buckets=SECONDS,
)
LATENCY_SECONDS: Final = Histogram(
    "estampa_latency_seconds", "From Kafka's time to the published record. Rising: not keeping up.", buckets=SECONDS
)
LAG: Final = Gauge(
    "estampa_lag_messages",
    "Messages of a partition not yet read; it stands still while a batch hangs. Rising: not keeping up.",
    ["topic", "partition"],
)
UNCOMMITTED_AGE: Final = Gauge(
    "estampa_oldest_uncommitted_seconds",
    "Since the oldest batch in hand was read, 0 with none. Old messages read lately are young. Past 300: wedged.",
)
HISTORY: Final = Histogram("estampa_history_alerts", "Alerts in the sequence of a classification.", buckets=SIZES)
LAST_BATCH: Final = Gauge("estampa_last_batch_timestamp_seconds", "When a batch was last committed, since 1970.")


class GpuMemory(Collector):
    """`estampa_gpu_memory_bytes`, read when scraped; absent without a GPU. Near the card's: lower batch.size."""

    def collect(self) -> Iterator[Metric]:
        torch = sys.modules.get("torch")  # a process that has not loaded it holds no GPU memory
        if torch is not None and torch.cuda.is_available():
            used = GaugeMetricFamily("estampa_gpu_memory_bytes", "GPU memory that torch holds.")
            used.add_metric([], torch.cuda.memory_reserved())
            yield used


REGISTRY.register(GpuMemory())


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a stage of one batch."""
    started = time.perf_counter()
    yield
    STAGE_SECONDS.labels(name).observe(time.perf_counter() - started)


def forget_partition(topic: str, partition: int) -> None:
    """A partition went to another member: its lag is no longer ours to show."""
    with suppress(KeyError):
        LAG.remove(topic, partition)
