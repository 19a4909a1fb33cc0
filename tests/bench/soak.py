"""An hour of Rubin's mean rate through one consumer. Memory, open files, lag and latency must stay flat."""

import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from consumer.embedded import free_port
from model_zoo.checkpoint import save
from tests.chaos.ground import Ground, ground
from tests.chaos.night import Sent, simulated_night
from tests.conftest import random_checkpoint

PARTITIONS = 4
SAMPLE_S = 10.0
WARM_S = 60.0
"""Caches fill, the allocator finds its size: what comes before is no measure."""
GROWTH = 0.05
SLOWER = 2.0
"""Latency of a visit may not double: it moves with whatever else runs on the machine."""
VISIT_S = 1.0
"""Alerts come in visits: one by one each is a batch, and past some 15,000 the embedded broker answers no fetch."""


@dataclass(frozen=True)
class Sample:
    """seconds: since the start. sent, consumed: alerts. rss, broker: bytes. latency_s: mean since the sample before."""

    seconds: float
    sent: int
    consumed: float
    rss: float
    files: float
    lag: float
    latency_s: float
    broker: float


def main(
    minutes: Annotated[float, typer.Option(help="How long.")] = 60.0,
    rate: Annotated[int, typer.Option(help="Alerts a second.")] = 333,
    seed: Annotated[int, typer.Option(help="Of the alerts.")] = 1,
) -> None:
    """Send at a steady rate, sample the consumer's own metrics, and exit 1 unless they are flat."""
    with tempfile.TemporaryDirectory(prefix="estampa-soak-") as scratch:
        checkpoint = Path(scratch) / "checkpoint"
        save(random_checkpoint(), checkpoint)
        night = simulated_night(rate * 30, seed, PARTITIONS)
        port = free_port()
        settings = {
            "output__avro_encoding": "schemaless",
            "monitor__enabled": "true",
            "monitor__port": str(port),
            "batch__size": "256",
            "limits__duplicate_window": "0",
        }
        with ground(Path(scratch), checkpoint, night[:200], **settings) as made:
            made.join()
            samples = []
            for sample in soaked(made, night, minutes * 60, rate, f"http://127.0.0.1:{port}/metrics"):
                samples.append(sample)
                print(sample, flush=True)  # noqa: T201
    Console().print(table(samples))
    raise typer.Exit(0 if flat(samples) else 1)


def soaked(made: Ground, night: list[Sent], seconds: float, rate: int, metrics: str) -> Iterator[Sample]:
    """Send the night over and over; no repeat is dropped, so that every alert goes all the way."""
    producer = Producer({"bootstrap.servers": made.to_broker.address, "compression.type": "lz4", "log_level": 0})
    begun, sent, visits, due, before = time.monotonic(), 0, 0, SAMPLE_S, (0.0, 0.0)
    while (now := time.monotonic() - begun) < seconds:
        if now > visits * VISIT_S:
            visits += 1
            for _ in range(round(rate * VISIT_S)):
                one = night[sent % len(night)]
                producer.produce(made.topics["topic"], one.payload, partition=one.partition)
                sent += 1
        producer.poll(0.05)
        if now > due:
            due += SAMPLE_S
            sample, before = sampled(metrics, made.broker.process.pid, now, sent, before)
            yield sample
    producer.flush(30)


def sampled(
    metrics: str, broker: int, now: float, sent: int, before: tuple[float, float]
) -> tuple[Sample, tuple[float, float]]:
    with urllib.request.urlopen(metrics, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        values: dict[str, float] = {}
        for one in (sample for family in families for sample in family.samples):
            values[one.name] = values.get(one.name, 0.0) + one.value
    total, count = values["estampa_latency_seconds_sum"], values["estampa_latency_seconds_count"]
    latency = (total - before[0]) / max(count - before[1], 1)
    memory, files, consumed = (
        values[name] for name in ("process_resident_memory_bytes", "process_open_fds", "estampa_consumed_total")
    )
    lag = values.get("estampa_lag_messages", 0.0)
    return Sample(now, sent, consumed, memory, files, lag, latency, resident(broker)), (total, count)


def resident(process: int) -> float:
    """Bytes of memory, as Linux says."""
    facts = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return 1024.0 * int(facts["VmRSS"].split()[0])


def flat(samples: list[Sample]) -> bool:
    """Whether the last third is as the first, once it is warm, and all that was sent came through."""
    warm = [one for one in samples if one.seconds > WARM_S]
    third = len(warm) // 3
    if not third:
        return False

    def grown(name: str) -> float:
        was, now = (float(np.median([getattr(one, name) for one in some])) for some in (warm[:third], warm[-third:]))
        return now / was if was else float("inf")

    steady = grown("rss") <= 1 + GROWTH and grown("files") <= 1 + GROWTH and grown("latency_s") <= SLOWER
    return steady and all(one.sent - one.consumed < 5_000 for one in warm)


def table(samples: list[Sample]) -> Table:
    made = Table(title="soak", title_justify="left")
    for name in ("minute", "alerts", "RSS, MB", "open files", "lag", "latency, s", "broker, MB"):
        made.add_column(name, justify="right")
    for one in samples[:: max(len(samples) // 20, 1)]:
        numbers = (
            f"{one.seconds / 60:.1f}",
            f"{one.consumed:.0f}",
            f"{one.rss / 1e6:.0f}",
            f"{one.files:.0f}",
            f"{one.lag:.0f}",
        )
        made.add_row(*numbers, f"{one.latency_s:.3f}", f"{one.broker / 1e6:.0f}")
    return made


if __name__ == "__main__":
    typer.run(main)
