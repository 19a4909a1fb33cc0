import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY

from consumer.configuration.settings import BatchSettings, Settings
from consumer.errors import ArchiveError, BrokerError, StoreError, UnaccountedAlerts
from consumer.message import Batch
from consumer.monitoring.health import Heartbeat
from consumer.results import Results
from tests.support.loop import GOOD, NIGHT, Line
from tests.support.packets import Packet, container
from tests.support.twins import TOPIC, MemorySink, MemorySource, MemoryStore, batches_of

# The order of things


def test_a_batch_is_remembered_then_published_then_committed() -> None:
    line = Line()
    line.run(GOOD[:2], size=1)
    assert line.events == ["remember", "publish", "commit"] * 2
    assert line.source.committed == {(TOPIC, 0): 2}


def test_nothing_is_committed_that_was_not_published() -> None:
    line = Line(sink=MemorySink(failing=[BrokerError("not delivered")]))
    with pytest.raises(BrokerError):
        line.run(GOOD)
    assert line.events == ["remember"]
    assert line.source.committed == {}


def test_nothing_is_published_that_was_not_remembered() -> None:
    class Away(MemoryStore):
        def remember(self, *_: Any) -> Any:
            raise StoreError("store is away")

    line = Line()
    line.pipeline._store = Away(42)
    with pytest.raises(StoreError):
        line.run(GOOD)
    assert line.events == []


def test_a_batch_that_failed_is_whole_the_second_time_and_not_taken_for_repeats() -> None:
    """Candids are known as repeats only once their batch is committed."""
    line = Line(sink=MemorySink(failing=[BrokerError("not delivered")]))
    [batch] = batches_of(GOOD, 512)
    with pytest.raises(BrokerError):
        line.pipeline.process(batch, line.pipeline.decode(batch))
    line.pipeline.process(batch, line.pipeline.decode(batch))
    assert line.candids() == [1, 2, 3]
    assert line.pipeline.report.account.duplicates == 0


def test_a_batch_without_a_good_alert_still_tells_the_store_how_far_it_got() -> None:
    line = Line()
    line.run([None, b"junk"])
    assert line.data.applied == {(TOPIC, 0): 2}
    assert line.data.sequences == {}
    assert line.source.committed == {(TOPIC, 0): 2}


def test_an_empty_batch_does_nothing_but_beat() -> None:
    line = Line()
    line.source.given = [Batch(()), Batch(())]
    line.pipeline.run()
    assert line.events == []


def test_a_batch_that_is_not_full_is_finished_before_the_source_is_asked_again() -> None:
    """Nothing more may come for hours; a full one may wait, for more is there."""
    line = Line(settings=Settings(batch=BatchSettings(size=2)))
    finished: list[list[int]] = []

    class Asked(MemorySource):
        def batches(self) -> Any:
            for batch in batches_of(GOOD, 1):
                yield batch
                finished.append(line.candids())

    line.source = line.pipeline._source = Asked([])
    line.pipeline.run()
    assert finished == [[1], [1, 2], [1, 2, 3]]


def test_a_run_whose_counts_do_not_come_out_even_ends_in_an_error() -> None:
    line = Line()
    line.pipeline.report.account.read += 1
    with pytest.raises(UnaccountedAlerts, match="4 alerts were read and 3 came out"):
        line.run(GOOD)
    assert line.candids() == [1, 2, 3]


# What the operator sees


@pytest.mark.parametrize("messages", [0, 1])
def test_a_loop_that_moves_beats_at_every_batch_an_empty_one_too(messages: int) -> None:
    now, alive = [0.0], []
    line = Line()
    heartbeat = line.pipeline._heartbeat = Heartbeat(60.0, lambda: now[0])

    class Slow(MemorySource):
        def batches(self) -> Any:
            for batch in batches_of(GOOD, 1):
                alive.append(heartbeat.alive())
                now[0] += 50.0
                yield batch if messages else Batch(())

    line.source = line.pipeline._source = Slow([])
    line.pipeline.run()
    assert alive == [True] * 3
    assert heartbeat.alive()
    now[0] += 60.0
    assert not heartbeat.alive()


def test_a_run_logs_its_progress_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two alerts are read within a minute, the third an hour later."""
    now = [1000.0]
    monkeypatch.setattr(
        "consumer.monitoring.report.time", SimpleNamespace(monotonic=lambda: now[0], time_ns=time.time_ns)
    )
    line = Line()
    line.pipeline.report.logged = now[0]

    class Slow(MemorySource):
        def batches(self) -> Any:
            for batch, waited_s in zip(batches_of(GOOD, 1), (0.0, 59.0, 3_600.0), strict=True):
                now[0] += waited_s
                yield batch

    line.source = line.pipeline._source = Slow([])
    with structlog.testing.capture_logs() as logs:
        line.pipeline.run()
    told = [entry for entry in logs if entry["event"] == "progress"]
    assert [entry["read"] for entry in told] == [3]


def in_hand_s() -> float | None:
    return REGISTRY.get_sample_value("estampa_oldest_uncommitted_seconds")


@dataclass
class Scraped(MemorySink):
    """Scrapes at each batch: when it comes to be published, and after it has hung there for 50 ms."""

    scrapes: list[tuple[float, float]] = field(default_factory=list)

    def publish(self, results: Results) -> None:
        came = in_hand_s() or 0.0
        time.sleep(0.05)
        self.scrapes.append((came, in_hand_s() or 0.0))
        super().publish(results)


def test_the_oldest_batch_in_hand_ages_while_it_hangs_and_not_by_how_old_its_messages_are() -> None:
    """Full batches: the second is read, and in hand, before the first is with the models."""
    line = Line(sink=(sink := Scraped()), settings=Settings(batch=BatchSettings(size=1)))
    line.run(GOOD, size=1)
    assert all(hung - came >= 0.05 for came, hung in sink.scrapes)
    assert all(came >= 0.05 for came, _ in sink.scrapes[1:])  # in hand while the one before hung
    assert max(hung for _, hung in sink.scrapes) < 200  # Kafka had them years ago
    assert in_hand_s() == 0


@pytest.mark.parametrize("size", [3, 512])
def test_what_came_before_an_archive_ended_early_is_finished_whether_its_batch_is_full_or_not(size: int) -> None:
    class Gone(MemorySource):
        def batches(self) -> Any:
            yield from batches_of(GOOD, size)
            raise ArchiveError("the archive ends early")

    line = Line(source=Gone([]), settings=Settings(batch=BatchSettings(size=size)))
    with pytest.raises(ArchiveError, match="ends early"):
        line.pipeline.run()
    assert line.candids() == [1, 2, 3]
    assert line.source.committed == {(TOPIC, 0): 3}


# Repeats


def test_a_repeat_within_a_batch_or_a_run_is_dropped_and_counted() -> None:
    line = Line()
    report = line.run([GOOD[0], GOOD[0], GOOD[1], GOOD[0]], size=3)
    assert line.candids() == [1, 2]
    assert (report.account.read, report.account.duplicates) == (4, 2)


def test_of_repeats_within_a_batch_the_first_is_the_one_that_is_classified() -> None:
    line = Line()
    line.run([GOOD[1], GOOD[0], GOOD[1], GOOD[0]])
    assert [(made.candid, made.offset) for made in line.sink.classifications] == [(2, 0), (1, 1)]


def test_a_repeat_within_a_container_is_counted() -> None:
    line = Line()
    report = line.run([container([Packet(candid=1), Packet(candid=1)])])
    assert (line.candids(), report.account.duplicates) == ([1], 1)


def test_a_bad_alert_is_no_repeat_of_itself_nor_hides_a_good_one() -> None:
    line = Line()
    bad = Packet(candid=1, stamps={"science": None}).payload()
    report = line.run([bad, bad, GOOD[0]])
    assert line.candids() == [1]
    assert (report.account.duplicates, len(line.sink.dead_letters)) == (0, 2)


def test_a_redelivery_after_a_restart_is_judged_again_and_changes_no_state() -> None:
    first = Line()
    first.run(NIGHT)
    before = {key: dict(fields) for key, fields in first.data.sequences.items()}
    second = Line(data=first.data)
    second.run(NIGHT)
    assert second.candids() == first.candids()
    assert first.data.sequences == before
    for one, again in zip(first.sink.classifications, second.sink.classifications, strict=True):
        assert again.sequence_probabilities == one.sequence_probabilities, "a night in time order"
