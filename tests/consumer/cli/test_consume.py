"""`estampa consume` in this process: going back in time, exactly once, and a new model warmed up beside the old one."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from rich.console import Console

from consumer.cli.consume import consume
from consumer.cli.options import past_ms
from consumer.cli.replay import Replay, replay
from consumer.cli.runtime import load_inference, open_store
from consumer.configuration.load import load_settings
from consumer.configuration.settings import Settings
from consumer.errors import ConfigError
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.monitoring.health import Heartbeat
from consumer.pipeline import Pipeline
from model_zoo.checkpoint import Checkpoint, save
from tests.conftest import random_checkpoint
from tests.support.line import (
    SESSION_MS,
    answer,
    classifications,
    new_topics,
    payloads,
    produce,
    read_topic,
    state,
    unique,
    wait_until,
    write_tar,
)
from tests.support.packets import Packet, night

pytestmark = pytest.mark.integration


class Line:
    """A night's topic, its outputs, a store and a model, as settings. produced: what was sent, in order."""

    def __init__(self, broker: str, store: str, model: Path, packets: list[Packet]) -> None:
        self.broker, self.store, self.model = broker, store, model
        self.topics, self.group = new_topics(broker), unique("g")
        self.packets = packets
        produce(broker, self.topics["topic"], payloads(packets))

    def settings(self, **kafka: Any) -> Settings:
        base = {"brokers": self.broker, "group": self.group, "topics": (self.topics["topic"],)}
        return load_settings(
            None,
            {
                "kafka": {**base, "session_timeout_ms": SESSION_MS, **kafka},
                "store": {"url": self.store},
                "model": {"checkpoint": str(self.model), "threads": 1},
                "output": {"topic": self.topics["output"], "dead_letter_topic": self.topics["dead"]},
                "batch": {"size": 7},
                "monitor": {"enabled": False},
            },
        )

    def with_model(self, checkpoint: Checkpoint, folder: Path) -> Settings:
        """The settings with another model."""
        save(checkpoint, folder)
        model = self.settings().model.model_copy(update={"checkpoint": str(folder)})
        return self.settings().model_copy(update={"model": model})

    def records(self) -> list[dict[str, Any]]:
        return classifications(read_topic(self.broker, self.topics["output"]))

    def forget(self, pattern: str) -> None:
        """The store loses these keys."""
        with redis.Redis.from_url(self.store) as client:
            client.delete(*client.scan_iter(pattern))


@pytest.fixture
def line(broker: str, store_url: str, checkpoint_folder: Path) -> Line:
    return Line(broker, store_url, checkpoint_folder, night(objects=6, visits=3))


def test_a_store_that_lost_its_sequences_is_refilled_to_the_same_bytes_by_going_back_or_from_the_archive(
    line: Line, tmp_path: Path
) -> None:
    before = int(time.time() * 1000) - 60_000
    consume(line.settings(), exit_at_end=True)
    whole = state(line.store)
    assert len(whole) == 6

    line.forget("latent:*")  # the note of what was applied is still there
    assert consume(line.settings(), exit_at_end=True)["read"] == 18
    assert state(line.store) == whole

    client = redis.Redis.from_url(line.store)
    client.delete(
        *[key for key in client.scan_iter("latent:*") if b"token" not in key]
    )  # one by one: nothing looks lost
    assert consume(line.settings(), exit_at_end=True)["read"] == 0
    assert consume(line.settings(), exit_at_end=True, since_ms=before)["read"] == 18
    assert state(line.store) == whole

    line.forget("*")
    archive = write_tar(tmp_path / "night.tar", payloads(line.packets))
    replay(line.settings(), Replay([archive], state_only=True), Console(quiet=True))
    assert state(line.store) == whole


def test_going_back_ends_at_the_time_given_and_skips_nothing_that_was_not_read(line: Line) -> None:
    consume(line.settings(), exit_at_end=True)
    time.sleep(0.2)
    middle = int(time.time() * 1000)
    time.sleep(0.2)
    later = [packet.at(candid=9000 + number) for number, packet in enumerate(line.packets[:4])]
    produce(line.broker, line.topics["topic"], payloads(later))
    assert consume(line.settings(), exit_at_end=True)["read"] == 4
    assert consume(line.settings(), exit_at_end=True, since_ms=middle)["read"] == 4
    for first in (500, 1000):  # neither was read: the time given lies between them, for one past the end has no offset
        time.sleep(0.2)
        between = int(time.time() * 1000)
        time.sleep(0.2)
        unread = [packet.at(candid=packet.candid + first) for packet in later]
        produce(line.broker, line.topics["topic"], payloads(unread))
    assert consume(line.settings(), exit_at_end=True, since_ms=between)["read"] == 8


@pytest.mark.parametrize(("delivery", "times"), [("at_least_once", 2), ("exactly_once", 1)])
def test_going_back_publishes_again_unless_delivery_is_exactly_once(line: Line, delivery: str, times: int) -> None:
    settings = line.settings(delivery=delivery, transactional_id=unique("name"))
    consume(settings, exit_at_end=True)
    whole = state(line.store)
    line.forget("latent:*")
    consume(settings, exit_at_end=True, since_ms=0)
    assert sorted(record["candid"] for record in line.records()) == sorted(
        packet.candid for packet in line.packets * times
    )
    assert state(line.store) == whole


@pytest.mark.parametrize(("text", "said"), [("yesterday", "is no time; give one of UTC"), ("2999-01-01", "to come")])
def test_a_time_that_is_none_or_to_come_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"--from {text} .*{said}"):
        past_ms(text, "--from")


def test_a_time_is_of_utc_unless_it_names_a_zone() -> None:
    expected = datetime(2026, 1, 31, 4, tzinfo=UTC).timestamp() * 1000
    assert past_ms("2026-01-31T04:00", "--from") == past_ms("2026-01-31T05:00+01:00", "--from") == expected


class Serving:
    """A consumer that goes on in a thread until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        inference = load_inference(settings.model)
        self._store = open_store(settings, inference, settings.kafka.group)
        self._source = KafkaSource(settings, self._store)
        self._pipeline = Pipeline(settings, self._source, inference, self._store, KafkaSink(settings), Heartbeat(60))
        self._pool = ThreadPoolExecutor(1)
        self._run = self._pool.submit(self._pipeline.run)

    def wait_for(self, alerts: int) -> None:
        wait_until(lambda: self._pipeline.report.account.read >= alerts, 30, f"{alerts} alerts")

    def stop(self) -> None:
        self._source.stop()
        self._run.result(30)
        self._source.close()
        self._store.close()
        self._pool.shutdown()


def by_model(records: list[dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for record in records:
        found.setdefault(record["model_name"], {})[record["candid"]] = record
    return found


def test_a_new_model_warms_up_beside_the_old_one_and_takes_over_without_a_gap(line: Line, tmp_path: Path) -> None:
    """Decision 13. Its past comes from the archive while the old one serves; what came meanwhile it reads again."""
    old, new = line.settings(), line.with_model(random_checkpoint(seed=5), tmp_path / "new")
    serving = Serving(old)
    serving.wait_for(18)
    switch = int(time.time() * 1000)
    meanwhile = [packet.at(candid=packet.candid + 500, jd=packet.jd + 20) for packet in line.packets[:6]]
    afterwards = [packet.at(candid=packet.candid + 600, jd=packet.jd + 40) for packet in line.packets[:6]]
    produce(line.broker, line.topics["topic"], payloads(meanwhile))
    archive = write_tar(tmp_path / "past.tar", payloads(line.packets))
    replay(new, Replay([archive], state_only=True), Console(quiet=True))
    serving.wait_for(24)
    serving.stop()
    before = state(line.store)
    produce(line.broker, line.topics["topic"], payloads(afterwards))
    consume(new, exit_at_end=True, since_ms=switch)

    told = by_model(line.records())
    everything = line.packets + meanwhile + afterwards
    assert set(told["random-0"]) == {packet.candid for packet in line.packets + meanwhile}
    assert set(told["random-5"]) == {packet.candid for packet in meanwhile + afterwards}
    held = state(line.store)

    line.forget("*")
    out = tmp_path / "undisturbed.jsonl"
    replay(new, Replay([write_tar(tmp_path / "all.tar", payloads(everything))], out=out), Console(quiet=True))
    undisturbed = state(line.store)
    olds = {key: fields for key, fields in before.items() if key not in undisturbed}
    assert len(olds) == len(undisturbed) == 6
    assert held == olds | undisturbed
    expected = {record["candid"]: record for record in map(json.loads, out.read_text().splitlines())}
    assert {one: answer(record) for one, record in told["random-5"].items()} == {
        one: answer(expected[one]) for one in told["random-5"]
    }
