"""Whole-line benchmarks: from an uncompressed tar, through Kafka, a visit at once, latency at Rubin's mean rate."""

import gzip
import multiprocessing
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import fastavro
import numpy as np
import redis
from confluent_kafka import Producer

from consumer.archive.journal import ReplayJournal
from consumer.archive.sink import DiscardSink, FileSink
from consumer.archive.source import ArchiveSource, find_archives
from consumer.cli.runtime import open_store
from consumer.configuration.settings import Settings
from consumer.embedded import create_topics
from consumer.inference.models import Inference
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.monitoring.health import Heartbeat
from consumer.monitoring.report import RunReport
from consumer.pipeline import Pipeline
from consumer.store.sequences import NewEntries
from tests.bench.night import looped, write_tar
from tests.bench.plain_models import PlainInference
from tests.bench.reference import USUAL_SCHEMA, UsualLine
from tests.bench.source import LoopedSource
from tests.bench.stages import ROUNDS, seconds

Row = dict[str, object]


def replay_rate(settings: Settings, inference: Inference, tar: Path) -> float:
    """Alerts a second: tar → published records, in a file, and state."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(settings, inference, "bench")
        journal = ReplayJournal(Path(folder) / "parts", {})
        sink = FileSink(settings.output, journal, Path(folder) / "out.avro", None, journal.begin())
        source = ArchiveSource(find_archives([tar]), settings.batch.size)
        pipeline = Pipeline(settings, source, inference, store, sink, Heartbeat(60))
        took = seconds(lambda: (pipeline.run(), sink.finish()))
        store.close()
        return pipeline.report.account.read / took


def file_rows(settings: Settings, inference: Inference, packets: Sequence[bytes], folder: Path) -> list[Row]:
    tar = write_tar(folder / "night.tar", looped(packets, 4_000))
    zipped = folder / "night.tar.gz"
    with gzip.open(zipped, "wb", compresslevel=6) as packed, tar.open("rb") as plain:
        shutil.copyfileobj(plain, packed)
    few = list(looped(packets, 400))
    url = settings.store.url.get_secret_value()
    usual = UsualLine(inference.checkpoint, url, fastavro.parse_schema(USUAL_SCHEMA), None, "")
    plain = PlainInference(inference)
    rates, ratios, zipped_rates, costs = [], [], [], []
    for _ in range(ROUNDS):
        redis.Redis.from_url(url).flushdb()
        zipped_rates.append(replay_rate(settings, inference, zipped))
        redis.Redis.from_url(url).flushdb()
        mine = replay_rate(settings, inference, tar)
        theirs = len(few) / seconds(lambda: usual.run(few))
        redis.Redis.from_url(url).flushdb()
        costs.append(mine / replay_rate(settings, plain, tar))
        rates.append(mine)
        ratios.append(mine / theirs)
    return [
        {"what": "whole line, from a tar", "unit": "alerts/s", "value": median(rates), "target": "≥ 2,000"},
        {"what": "… over the same line written the usual way", "unit": "×", "value": median(ratios), "target": "≥ 5"},
        {"what": "… over the same line with torch's products", "unit": "×", "value": median(costs), "target": "≥ 0.95"},
        {"what": "whole line, from a tar.gz", "unit": "alerts/s", "value": median(zipped_rates), "target": "≥ 1,500"},
    ]


def consume(settings: Settings, inference: Inference, topic: str, alerts: int) -> tuple[RunReport, float]:
    """Drain `alerts` alerts from a topic; the report, and the seconds since the first batch was read."""
    name = f"bench-{time.monotonic_ns()}"
    kafka = settings.kafka.model_copy(update={"topics": (topic,), "group": name})
    here = settings.model_copy(update={"kafka": kafka})
    store = open_store(here, inference, name)
    source = Until(KafkaSource(here, store), alerts)
    pipeline = Pipeline(here, source, inference, store, KafkaSink(here), Heartbeat(60))
    pipeline.run()
    took = time.monotonic() - source.first
    source.close()
    store.close()
    return pipeline.report, took


class Until:
    """A source that ends after so many messages. first: when the first came."""

    def __init__(self, source: KafkaSource, messages: int) -> None:
        self._source, self._left = source, messages
        self.first = 0.0

    def batches(self) -> Iterator[Any]:
        for batch in self._source.batches():
            self._left -= len(batch.messages)
            if batch.messages and not self.first:
                self.first = time.monotonic()
            yield batch
            if self._left <= 0:
                return

    def commit(self, batch: Any) -> None:
        self._source.commit(batch)

    def close(self) -> None:
        self._source.close()


def send(broker: str, topic: str, packets: Sequence[bytes], rate: float = 0.0, delay: float = 0.0) -> None:
    """Produce packets, at `rate` a second or as fast as it goes, after `delay` seconds."""
    time.sleep(delay)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 2, "log_level": 2})
    started = time.monotonic()
    for number, packet in enumerate(packets):
        ahead = number / rate - (time.monotonic() - started) if rate else 0.0
        if ahead > 0:
            time.sleep(ahead)
        while True:
            try:
                producer.produce(topic, packet)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(60)


def kafka_rows(settings: Settings, inference: Inference, packets: Sequence[bytes]) -> list[Row]:
    broker = settings.kafka.brokers
    create_topics(broker, {settings.output.topic: 1, settings.output.dead_letter_topic: 1})
    rates = []
    for round_ in range(ROUNDS):
        topic = f"backlog-{time.monotonic_ns()}"
        create_topics(broker, {topic: 1})
        send(broker, topic, list(looped(packets, 4_000, seed=round_)))
        rates.append(4_000 / consume(settings, inference, topic, 4_000)[1])
    visits = [visit_seconds(settings, inference, packets, round_) for round_ in range(ROUNDS)]
    return [
        {"what": "whole line, through Kafka", "unit": "alerts/s", "value": median(rates), "target": "≥ 1,500"},
        {"what": "one Rubin visit, 10,000 alerts at once", "unit": "s", "value": median(visits), "target": "≤ 7"},
        *latency_rows(settings, inference, packets),
    ]


def visit_seconds(settings: Settings, inference: Inference, packets: Sequence[bytes], seed: int) -> float:
    """From the first message read to the last committed."""
    topic = f"visit-{time.monotonic_ns()}"
    create_topics(settings.kafka.brokers, {topic: 1})
    send(settings.kafka.brokers, topic, list(looped(packets, 10_000, seed=10 + seed)))
    return consume(settings, inference, topic, 10_000)[1]


def latency_rows(settings: Settings, inference: Inference, packets: Sequence[bytes]) -> list[Row]:
    medians, worst = zip(*(latency_ms(settings, inference, packets, round_) for round_ in range(ROUNDS)), strict=True)
    return [
        {"what": "latency at 333 alerts/s, median", "unit": "ms", "value": median(medians), "target": "≤ 60"},
        {"what": "latency at 333 alerts/s, 99 of 100", "unit": "ms", "value": median(worst), "target": "≤ 250"},
    ]


def latency_ms(settings: Settings, inference: Inference, packets: Sequence[bytes], seed: int) -> tuple[float, float]:
    """Kafka time → delivery report at 333 alerts/s for 15 s, the sender a process of its own: median, and 99 of 100."""
    topic = f"steady-{time.monotonic_ns()}"
    create_topics(settings.kafka.brokers, {topic: 1})
    night = list(looped(packets, 5_000, seed=20 + seed))
    sender = multiprocessing.get_context("spawn").Process(
        target=send, args=(settings.kafka.brokers, topic, night, 333.0, 4.0)
    )
    sender.start()
    report, _ = consume(settings, inference, topic, len(night))
    sender.join()
    latency = report.summary()["latency_ms"]
    return latency["p50"], latency["p99"]


def length_rows(settings: Settings, inference: Inference, packets: Sequence[bytes]) -> list[Row]:
    """Time an alert where its object has 100 earlier ones, over where it has 1."""
    night = list(looped(packets, 1_024, lengths={1: 1.0}))

    def took(earlier: int) -> float:
        redis.Redis.from_url(settings.store.url.get_secret_value()).flushdb()
        store = open_store(settings, inference, "bench")
        for visit in range(earlier):
            store.remember(_visit(visit, len(night), inference.checkpoint.encoder_config.latent), {})
        source = LoopedSource(iter(night), settings.batch.size)
        pipeline = Pipeline(settings, source, inference, store, DiscardSink(), Heartbeat(60))
        taken = seconds(pipeline.run)
        store.close()
        return taken

    ratios = [took(100) / took(1) for _ in range(ROUNDS)]
    return [{"what": "time an alert, 100 earlier ones over 1", "unit": "×", "value": median(ratios), "target": "≤ 1.3"}]


def _visit(visit: int, objects: int, latent: int) -> NewEntries:
    """One earlier alert of each of the first `objects` objects of a looped night."""
    return NewEntries(
        keys=[f"ZTF{one:09d}" for one in range(objects)],
        candid=np.arange(objects) + 10_000 * visit,
        jd=np.full(objects, 2460900.5 + visit / 2),
        band=np.ones(objects, np.uint8),
        latents=np.random.default_rng(visit).normal(size=(objects, latent)).astype(np.float32),
    )


def memory_rows(settings: Settings, inference: Inference, packets: Sequence[bytes], alerts: int = 100_000) -> list[Row]:
    """Growth of resident memory after the first third, and bytes of the store an alert."""
    url = settings.store.url.get_secret_value()
    client = redis.Redis.from_url(url)
    rows: list[Row] = []
    for dtype, count, target in (("float32", alerts, "≤ 230"), ("float16", 10_000, "≤ 140")):
        client.execute_command("FLUSHDB", "SYNC")
        before = client.info("memory")["used_memory"]
        here = settings.model_copy(update={"store": settings.store.model_copy(update={"dtype": dtype})})
        store = open_store(here, inference, "bench")
        source = LoopedSource(looped(packets, count), settings.batch.size)
        pipeline = Pipeline(here, source, inference, store, DiscardSink(), Heartbeat(60))
        watch = Resident(pipeline, count // 3)
        pipeline.run()
        held = (client.info("memory")["used_memory"] - before) / count
        if dtype == "float32":
            rows.append({"what": f"resident memory, growth over {count - count // 3:,} alerts", "unit": "%",
                         "value": watch.growth(), "target": "< 5"})  # fmt: skip
        rows.append({"what": f"store, an alert, {dtype}", "unit": "B", "value": held, "target": target})
        store.close()
    return rows


class Resident:
    """Samples this process's resident memory while a pipeline runs."""

    def __init__(self, pipeline: Pipeline, warm: int) -> None:
        self._pipeline, self._warm = pipeline, warm
        self._base = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self._pipeline.report.account.read < self._warm:
            time.sleep(0.02)
        self._base = resident()

    def growth(self) -> float:
        """Percent since it was warm."""
        return 100 * (resident() / self._base - 1)


def resident() -> int:
    """Bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
