"""A stop ends the process soon, also while a packet is being decoded; what was not finished is read again."""

import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from consumer.configuration.settings import Settings
from consumer.decode_stage import DecodeStage
from consumer.decoding.layout import MAX_VALUES
from consumer.embedded import free_port
from consumer.message import Batch
from consumer.monitoring.health import Heartbeat
from tests.support.hostile import many_values
from tests.support.line import consuming, new_topics, produce, start, unique, wait_until
from tests.support.loop import GOOD, INFERENCE, Line
from tests.support.twins import MemorySource, batches_of


class StoppedSource(MemorySource):
    """Between two batches the run is told to stop."""

    def __init__(self, line: Line) -> None:
        super().__init__(batches_of(GOOD, 1)[:2], line.events)
        self._line = line

    def batches(self) -> Iterator[Batch]:
        yield self.given[0]
        self._line.pipeline.stop()
        yield self.given[1]


def stopped(line: Line) -> MemorySource:
    source = StoppedSource(line)
    line.pipeline._source = source
    line.pipeline.run()
    return source


def test_a_batch_that_is_decoded_past_the_time_of_a_stop_is_given_up_and_neither_published_nor_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consumer.decode_stage.STOP_S", -1.0)
    line = Line()
    source = stopped(line)
    assert line.candids() == [1]
    assert set(source.committed.values()) == {1}
    assert line.events == ["remember", "publish", "commit"]


def test_a_batch_that_is_decoded_in_time_is_finished() -> None:
    line = Line()
    source = stopped(line)
    assert line.candids() == [1, 2]
    assert set(source.committed.values()) == {2}


def test_the_heartbeat_beats_with_each_message_that_is_decoded() -> None:
    """A batch of slow packets is no wedged loop."""
    beats: list[float] = []

    class Counted(Heartbeat):
        def beat(self) -> None:
            beats.append(0.0)

    checkpoint, settings = INFERENCE.checkpoint, Settings()
    stage = DecodeStage(checkpoint, settings.limits, settings.kafka.programids, on_message=Counted(60.0).beat)
    stage.decode(batches_of(GOOD, 3)[0])
    assert len(beats) == 3


def _in_hand(port: int) -> bool:
    """Whether a batch has been in hand for a while: it is being decoded."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return False
    return any(one.startswith("estampa_oldest_uncommitted_seconds") and float(one.split()[1]) > 1 for one in lines)


@pytest.mark.integration
def test_sigterm_ends_a_consumer_that_has_minutes_of_decoding_before_it(
    broker: str, store_url: str, checkpoint_folder: Path
) -> None:
    topics, group, port = new_topics(broker), unique("g"), free_port()
    produce(broker, topics["topic"], [many_values(MAX_VALUES - 5_000)] * 1_500)
    more: dict[str, Any] = {"monitor__enabled": "true", "monitor__port": str(port)}
    more |= {"batch__size": "1500", "batch__wait_ms": "10000"}
    process = start(consuming(checkpoint_folder, broker, store_url, topics, group, **more), "consume")
    wait_until(lambda: _in_hand(port), 120, "a batch in hand")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)  # the packets take minutes
    assert process.returncode == 0, said
    assert "batch_given_up" in said
    reader = Consumer({"bootstrap.servers": broker, "group.id": group})
    [found] = reader.committed([TopicPartition(topics["topic"], 0)], timeout=10)
    reader.close()
    assert found.offset < 0
