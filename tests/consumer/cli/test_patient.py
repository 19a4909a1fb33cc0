"""A consumer that has nothing to read says what it waits for."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from consumer.cli.consume import Patient
from consumer.message import Batch
from tests.support.line import consuming, new_topics, payloads, produce, start, unique
from tests.support.packets import night
from tests.support.twins import messages_of

SOME = Batch(tuple(messages_of([b"x"])))
NONE = Batch(())


class Scripted:
    """A source whose batches come at given seconds."""

    def __init__(self, now: list[float], script: list[tuple[float, Batch]]) -> None:
        self.now, self.script = now, script

    def batches(self) -> Iterator[Batch]:
        for second, batch in self.script:
            self.now[0] = second
            yield batch

    def commit(self, batch: Batch) -> None: ...

    def close(self) -> None: ...


def told(monkeypatch: pytest.MonkeyPatch, script: list[tuple[float, Batch]], reasons: dict[float, str]) -> list[object]:
    now = [0.0]
    monkeypatch.setattr("consumer.cli.consume.time", SimpleNamespace(monotonic=lambda: now[0]))
    source = Patient(Scripted(now, script), lambda: next(why for until, why in reasons.items() if now[0] < until))
    with capture_logs() as lines:
        assert list(source.batches()) == [batch for _, batch in script]
    return [(line["event"], line["what"]) for line in lines]


def test_a_source_with_nothing_to_read_says_so_once_after_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    script = [(second, NONE) for second in range(5)]
    assert told(monkeypatch, script, {99: "topics"}) == []
    script += [(second, NONE) for second in range(5, 60)]
    assert told(monkeypatch, script, {99: "topics"}) == [("waiting", "topics")]


def test_a_source_says_what_else_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    script = [(second, NONE) for second in range(30)]
    assert told(monkeypatch, script, {10: "topics", 99: "messages"}) == [("waiting", "topics"), ("waiting", "messages")]


def test_a_source_that_was_read_from_begins_to_wait_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    script = [(0, NONE), (6, NONE), (7, SOME), (11, NONE), (12, NONE), (20, NONE)]
    assert told(monkeypatch, script, {99: "messages"}) == [("waiting", "messages"), ("waiting", "messages")]
    assert told(monkeypatch, script[2:4], {99: "messages"}) == []


@pytest.mark.integration
def test_a_consumer_says_what_it_waits_for_before_and_after_its_topic_is_there(
    broker: str, store_url: str, checkpoint_folder: Path
) -> None:
    topics = new_topics(broker)
    later = topics | {"topic": unique("later")}
    for names, sent, said in ((later, [], "a topic to appear"), (topics, payloads(night(1, 1)), "new messages in 1")):
        produce(broker, names["topic"], sent)
        env = consuming(checkpoint_folder, broker, store_url, names, unique("g"), log__format="json")
        process = start(env, "consume")
        line = next(line for line in process.stderr or () if json.loads(line)["event"] == "waiting")
        process.terminate()
        process.communicate(timeout=30)
        assert said in json.loads(line)["what"]
