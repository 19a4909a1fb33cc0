"""Every metric has the value, the unit and the labels that it promises. Counters live as long as the process, so what a
batch adds is what is asked.
"""

import time
from collections.abc import Callable

import pytest
import torch
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from consumer import metrics
from consumer.configuration.settings import BatchSettings, Settings
from consumer.errors import Reason
from consumer.message import Batch, Message
from consumer.monitoring.batches import batch_begun, batch_done
from tests.conftest import ROOT
from tests.support.loop import Line
from tests.support.makers import dead, made, results
from tests.support.packets import Packet, container

TWO_ALERTS = container([Packet(candid=1), Packet(candid=2)])


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def gained(change: Callable[[], object], name: str, **labels: str) -> float:
    before = value(name, **labels)
    change()
    return value(name, **labels) - before


def added(change: Callable[[], object], name: str, **labels: str) -> tuple[float, float]:
    """What a histogram was given: how many values, and their sum."""
    before = [value(f"{name}_{part}", **labels) for part in ("count", "sum")]
    change()
    count, total = (value(f"{name}_{part}", **labels) - old for part, old in zip(("count", "sum"), before, strict=True))
    return count, total


def test_consumed_counts_alerts_and_not_messages() -> None:
    assert gained(lambda: Line().run([TWO_ALERTS]), "estampa_consumed_total") == 2


def test_a_batch_is_measured_in_alerts_and_not_in_messages() -> None:
    assert added(lambda: Line().run([TWO_ALERTS]), "estampa_batch_alerts") == (1, 2)


def test_the_fill_of_a_batch_is_its_share_of_the_batch_size() -> None:
    messages = [Message(b"", "t", 0, offset) for offset in range(3)]
    batch_begun(Batch(messages), 4)
    assert value("estampa_batch_fill_ratio") == 0.75


def test_the_fill_of_a_batch_is_of_the_batch_size_that_is_set() -> None:
    Line(settings=Settings(batch=BatchSettings(size=8))).run([Packet(candid=1).payload(), Packet(candid=2).payload()])
    assert value("estampa_batch_fill_ratio") == 0.25


@pytest.mark.parametrize(("name", "count"), [("SN", 2), ("AGN", 1), ("bogus", 0)])
def test_classified_alerts_are_counted_by_their_most_probable_class(name: str, count: int) -> None:
    batch = results(made(1, "SN"), made(2, "AGN"), made(3, "SN"))
    assert gained(lambda: batch_done(batch), "estampa_classified_total", class_name=name) == count


@pytest.mark.parametrize(("reason", "count"), [(Reason.CORRUPT, 2), (Reason.EMPTY, 1), (Reason.TOMBSTONE, 0)])
def test_dead_letters_are_counted_by_reason(reason: Reason, count: int) -> None:
    batch = results(dead_letters=(dead(Reason.CORRUPT), dead(Reason.EMPTY), dead(Reason.CORRUPT)))
    assert gained(lambda: batch_done(batch), "estampa_dead_letters_total", reason=str(reason)) == count


def test_repeats_are_counted() -> None:
    assert gained(lambda: batch_done(results(duplicates=3)), "estampa_duplicates_total") == 3


def test_a_history_is_measured_in_alerts() -> None:
    batch = results(made(1, history_length=3), made(2, history_length=11))
    assert added(lambda: batch_done(batch), "estampa_history_alerts") == (2, 14)


def test_latency_is_in_seconds_and_an_alert_without_a_kafka_time_has_none() -> None:
    """A machine that stands still for less than ten minutes does not fail this."""
    batch = results(made(1, kafka_time=time.time_ns() // 1_000_000 - 3_600_000), made(2, kafka_time=None))
    count, total = added(lambda: batch_done(batch), "estampa_latency_seconds")
    assert count == 1
    assert 3_600 <= total < 4_200


def test_the_last_batch_is_a_time_in_seconds_since_1970() -> None:
    before = time.time()
    batch_done(results(made(1)))
    assert before <= value("estampa_last_batch_timestamp_seconds") <= time.time()


def test_a_stage_is_timed_in_seconds() -> None:
    def sleep() -> None:
        with metrics.stage("test"):
            time.sleep(0.05)

    started = time.perf_counter()
    count, seconds = added(sleep, "estampa_stage_seconds", stage="test")
    assert count == 1
    assert 0.05 <= seconds <= time.perf_counter() - started


@pytest.mark.parametrize("stage", ["wait", "decode", "encode", "remember", "classify", "publish", "commit"])
def test_every_stage_is_timed_once_a_batch(stage: str) -> None:
    payloads = [Packet(candid=candid).payload() for candid in (1, 2, 3)]
    count, seconds = added(lambda: Line().run(payloads, size=1), "estampa_stage_seconds", stage=stage)
    assert count == 3
    assert seconds > 0


def test_a_partition_that_went_away_shows_no_lag_and_may_go_twice() -> None:
    metrics.LAG.labels("gone", 3).set(7)
    assert REGISTRY.get_sample_value("estampa_lag_messages", {"topic": "gone", "partition": "3"}) == 7
    for _ in range(2):
        metrics.forget_partition("gone", 3)
    assert REGISTRY.get_sample_value("estampa_lag_messages", {"topic": "gone", "partition": "3"}) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="shown where there is a GPU")
def test_gpu_memory_is_not_shown_without_a_gpu() -> None:
    assert REGISTRY.get_sample_value("estampa_gpu_memory_bytes") is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_memory_is_what_torch_holds_in_bytes() -> None:
    held = torch.ones(2**24, device="cuda")
    assert value("estampa_gpu_memory_bytes") == torch.cuda.memory_reserved() >= held.numel() * held.element_size()


def test_every_metric_is_named_in_a_test() -> None:
    """Those above, the lag in test_kafka.py, the oldest uncommitted batch in test_pipeline.py."""
    told = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    ours = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    names = {described.name for one in ours for described in one.describe()}
    assert len(names) == len(ours) >= 12
    assert {name for name in names if name not in told} == set()
