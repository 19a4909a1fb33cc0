import json
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from structlog.testing import capture_logs

from consumer.errors import Reason, UnaccountedAlerts
from consumer.monitoring.report import Counts, Reservoir, RunReport, report_table
from consumer.results import ModelInfo
from model_zoo.checkpoint import Checkpoint
from tests.support.makers import dead, made, results


@pytest.fixture
def report(checkpoint: Checkpoint) -> RunReport:
    return RunReport(ModelInfo.of(checkpoint), "cpu")


SOME = results(
    made(1, "SN"),
    made(2, "SN"),
    made(3, "AGN"),
    dead_letters=(dead(Reason.EMPTY), dead(Reason.EMPTY), dead(Reason.CORRUPT)),
    duplicates=2,
)


def test_what_was_read_is_what_came_out() -> None:
    account = Counts()
    account.add(SOME)
    assert account.counts() == {
        "read": 8,
        "classified": 3,
        "duplicates": 2,
        "dead_lettered": {"empty_message": 2, "corrupt_container": 1},
        "classes": {"SN": 2, "AGN": 1},
    }
    account.check()


@pytest.mark.parametrize("off", [-1, 1])
def test_an_account_that_does_not_come_out_even_fails_loudly_with_its_numbers(off: int) -> None:
    account = Counts()
    account.add(replace(SOME, read=8 + off))
    with pytest.raises(UnaccountedAlerts, match=f"{8 + off} alerts were read and 8 came out") as caught:
        account.check()
    assert "3 classified, 2 repeated, 3 dead letters" in str(caught.value)


def test_progress_is_told_after_five_seconds_and_then_every_minute(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(
        "consumer.monitoring.report.time", SimpleNamespace(monotonic=lambda: now[0], time_ns=time.time_ns)
    )
    report, told = RunReport(ModelInfo.of(checkpoint), "cpu"), []
    for second in range(140):
        now[0] = 1000.0 + second
        report.add(SOME, 1.0)
        with capture_logs() as lines:
            report.log_progress()
        told += [(second, line["event"], line["read"]) for line in lines]
    assert told == [(5, "progress", 6 * 8), (65, "progress", 66 * 8), (125, "progress", 126 * 8)]


def test_counts_go_to_plain_types_and_back() -> None:
    account = Counts()
    account.add(SOME)
    again = Counts.of(json.loads(json.dumps(account.counts())))
    assert again == account
    again.add(SOME)
    assert (again.read, again.classified, account.read) == (16, 6, 8)


def test_a_summary_has_the_fields_that_are_promised(report: RunReport) -> None:
    report.add(SOME, 12.5)
    summary = json.loads(json.dumps(report.summary()))
    assert summary["read"] == summary["classified"] + summary["duplicates"] + sum(summary["dead_lettered"].values())
    assert set(summary) >= {"seconds", "alerts_per_second", "latency_ms", "model", "encoder_id", "device"}
    assert set(summary["latency_ms"]) == {"p50", "p95", "p99"}
    assert (summary["model"], summary["device"]) == ("random-0", "cpu")


def test_latency_is_from_kafka_or_else_the_batchs_own_time(report: RunReport) -> None:
    report.add(results(made(1, kafka_time=time.time_ns() // 1_000_000 - 250)), 12.5)
    assert 250 <= report.summary()["latency_ms"]["p50"] < 10_000
    report.add(results(*(made(candid, kafka_time=None) for candid in range(9))), 12.5)
    assert report.summary()["latency_ms"]["p50"] == 12.5


def test_a_run_without_alerts_has_a_summary_too(report: RunReport) -> None:
    summary = report.summary()
    assert (summary["read"], summary["alerts_per_second"]) == (0, 0.0)
    assert summary["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    report.account.check()


def test_a_resumed_run_counts_all_and_times_its_own(report: RunReport) -> None:
    report.carry({"read": 1_000, "classified": 1_000, "duplicates": 0, "dead_lettered": {}, "classes": {"SN": 1_000}})
    report.add(SOME, 1.0)
    report.seconds = 2.0
    summary = report.summary()
    assert (summary["read"], summary["classified"]) == (1_008, 1_003)
    assert summary["alerts_per_second"] == 4.0


# The sample of latencies


def test_percentiles_are_exact_while_all_fit() -> None:
    reservoir = Reservoir(100)
    for value in range(1, 101):
        reservoir.add(float(value))
    assert [reservoir.percentile(q) for q in (0, 50, 100)] == [1.0, 50.5, 100.0]


def test_a_full_sample_stays_bounded_and_speaks_for_the_whole_stream() -> None:
    reservoir = Reservoir(1_000)
    for value in np.linspace(0, 1, 20_000).tolist():
        reservoir.add(value)
    assert len(reservoir._values) == 1_000
    assert reservoir.percentile(50) == pytest.approx(0.5, abs=0.08)
    assert reservoir.percentile(95) == pytest.approx(0.95, abs=0.04)


# The table


def shown(summary: dict[str, object]) -> str:
    console = Console(width=120, record=True, file=None, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(report_table(summary, "demo"))
    return capture.get()


def test_the_table_shows_classes_dead_letters_and_that_in_is_out(report: RunReport) -> None:
    report.add(SOME, 12.5)
    text = shown(report.summary())
    assert "8 = 3 classified + 2 repeated + 3 dead letters" in text
    assert "66.7%" in text
    assert text.index("SN") < text.index("AGN"), "the largest first"
    assert "empty_message" in text


def test_the_table_of_an_empty_run_is_no_division_by_zero(report: RunReport) -> None:
    text = shown(report.summary())
    assert "0 = 0 classified" in text
    assert "none measured" in text
