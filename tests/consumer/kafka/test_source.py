"""The source against a real broker: positions, the window of nights, errors that a person understands."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError
from prometheus_client import REGISTRY

from consumer.configuration.load import load_settings
from consumer.configuration.settings import KafkaSettings, Settings
from consumer.deadletters.dead_letter import DeadLetter
from consumer.embedded import create_topics, start_broker
from consumer.errors import BadAlert, BrokerError, Reason
from consumer.kafka.client import explain
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.message import Batch, Message, Partition
from consumer.results import Results
from tests.chaos.proxy import Proxy
from tests.support.front import start_behind
from tests.support.line import SESSION_MS, produce, unique, wait_until

pytestmark = pytest.mark.integration


FETCH, NOTHING = 1, -1
"""Keys of Kafka's requests."""


class MemoryLedger:
    """What the store would know of the group's places."""

    def __init__(self) -> None:
        self.offsets: dict[Partition, int] = {}
        self.begun: dict[Partition, int] | None = None

    def applied(self, partition: Partition) -> int | None:
        return self.offsets.get(partition)

    def start(self) -> dict[Partition, int] | None:
        return self.begun

    def begin(self, offsets: dict[Partition, int]) -> None:
        self.begun = offsets


def settings(broker: str, **kafka: Any) -> Settings:
    base = {"brokers": broker, "group": unique("group"), "session_timeout_ms": SESSION_MS}
    return load_settings(None, {"kafka": {**base, **kafka}, "batch": {"size": 10}})


def drain(source: KafkaSource, ledger: MemoryLedger, *, commit: bool = True) -> list[Message]:
    """All messages to the end, committed as the loop would."""
    found: list[Message] = []
    for batch in source.batches():
        found += batch.messages
        ledger.offsets |= batch.offsets
        if commit and batch.messages:
            source.commit(batch)
    source.close()
    return found


def test_what_is_committed_is_not_read_again_and_what_is_not_is(broker: str) -> None:
    topic = unique("night")
    create_topics(broker, {topic: 2})
    produce(broker, topic, [b"%d" % number for number in range(25)])
    ledger, configured = MemoryLedger(), settings(broker, topics=(topic,))
    assert len(drain(KafkaSource(configured, ledger, exit_at_end=True), ledger, commit=False)) == 25
    assert len(drain(KafkaSource(configured, ledger, exit_at_end=True), ledger)) == 25
    assert drain(KafkaSource(configured, ledger, exit_at_end=True), ledger) == []


def test_a_topic_named_twice_is_read_once(broker: str) -> None:
    topic = unique("night")
    create_topics(broker, {topic: 1})
    produce(broker, topic, [b"a", b"b"])
    source = KafkaSource(settings(broker, topics=(topic, topic)), ledger := MemoryLedger(), exit_at_end=True)
    assert [one.payload for one in drain(source, ledger)] == [b"a", b"b"]


def test_messages_carry_their_place_and_kafka_s_time(broker: str) -> None:
    topic = unique("night")
    create_topics(broker, {topic: 1})
    before = time.time_ns() // 1_000_000
    produce(broker, topic, [b"a", None])
    ledger = MemoryLedger()
    first, second = drain(KafkaSource(settings(broker, topics=(topic,)), ledger, exit_at_end=True), ledger)
    assert (first.payload, first.topic, first.partition, first.offset) == (b"a", topic, 0, 0)
    assert (second.payload, second.offset) == (None, 1)
    assert first.timestamp_ms is not None
    assert before <= first.timestamp_ms <= time.time_ns() // 1_000_000


def test_a_start_time_counts_milliseconds_of_utc(broker: str) -> None:
    topic = unique("night")
    create_topics(broker, {topic: 1})
    produce(broker, topic, [b"before"] * 5)
    time.sleep(0.2)
    start = datetime.now(UTC)
    time.sleep(0.2)
    produce(broker, topic, [b"after"] * 3)
    for given in (start.isoformat(), start.replace(tzinfo=None).isoformat()):
        ledger = MemoryLedger()
        found = drain(KafkaSource(settings(broker, topics=(topic,), start=given), ledger, exit_at_end=True), ledger)
        assert [one.payload for one in found] == [b"after"] * 3


def test_a_topic_born_after_the_first_start_is_read_from_its_beginning(broker: str) -> None:
    old, new = unique("night"), unique("night")
    create_topics(broker, {old: 1})
    produce(broker, old, [b"old"] * 4, each=True)
    ledger, kafka = MemoryLedger(), {"group": unique("g"), "start": "latest"}
    assert drain(KafkaSource(settings(broker, topics=(old,), **kafka), ledger, exit_at_end=True), ledger) == []
    create_topics(broker, {new: 1})
    produce(broker, new, [b"new"] * 4, each=True)
    found = drain(KafkaSource(settings(broker, topics=(old, new), **kafka), ledger, exit_at_end=True), ledger)
    assert [one.payload for one in found] == [b"new"] * 4


def test_the_window_of_nights_rolls_without_a_restart_and_never_reaches_an_expired_night(broker: str) -> None:
    today = datetime(2031, 5, 4, 23, 59, 59, tzinfo=UTC)
    nights = [f"ztf_{today + timedelta(days=day):%Y%m%d}_programid1" for day in range(-3, 3)]
    create_topics(broker, dict.fromkeys(nights, 1))
    for night in nights:
        produce(broker, night, [night.encode()])
    seen: set[bytes | None] = set()
    window = {night.encode() for night in nights[2:5]}

    def now() -> datetime:
        """Midnight comes once today's window has been read."""
        return today + timedelta(seconds=2) if seen >= window else today

    ledger = MemoryLedger()
    source = KafkaSource(settings(broker), ledger, now=now)
    deadline = time.monotonic() + 60
    for batch in source.batches():
        seen |= {one.payload for one in batch.messages}
        ledger.offsets |= batch.offsets
        if batch.messages:
            source.commit(batch)
        if nights[5].encode() in seen:
            break
        assert time.monotonic() < deadline, seen
    source.close()
    assert seen == {night.encode() for night in nights[2:]}


def test_lag_is_shown_for_every_partition(broker: str) -> None:
    topic = unique("night")
    create_topics(broker, {topic: 3})
    for partition in range(3):
        produce(broker, topic, [b"x"] * 4, partition=partition)
    ledger = MemoryLedger()
    source = KafkaSource(settings(broker, topics=(topic,)), ledger)
    turns = source.batches()

    def shown() -> bool:
        """It is measured once a second."""
        batch = next(turns)
        if batch.messages:
            source.commit(batch)
        return all(lag(topic, one) is not None for one in range(3))

    wait_until(shown, what="the lag of every partition")
    source.close()
    assert lag(topic, 0) is None


def lag(topic: str, partition: int) -> float | None:
    return REGISTRY.get_sample_value("estampa_lag_messages", {"topic": topic, "partition": str(partition)})


def test_a_partition_lost_before_the_commit_is_a_log_line_and_rewinds_no_one(broker: str) -> None:
    topic = unique("night")
    create_topics(broker, {topic: 2})
    for partition in range(2):
        produce(broker, topic, [b"x"] * 4, partition=partition)
    configured, ledger = settings(broker, topics=(topic,)), MemoryLedger()
    first, second = KafkaSource(configured, ledger), KafkaSource(configured, ledger)
    held: list[Message] = []
    turns = first.batches()
    while len(held) < 8:
        held += next(turns).messages
    others: list[Message] = []
    deadline = time.monotonic() + 40
    for batch in second.batches():  # joins, and takes a partition whose messages the first still has in hand
        next(turns)
        others += batch.messages
        ledger.offsets |= batch.offsets
        if len(others) >= 4:
            second.commit(batch)
            break
        assert time.monotonic() < deadline
    ledger.offsets |= Batch.from_topics(held).offsets
    first.commit(Batch.from_topics(held))
    first.close()
    second.close()
    assert drain(KafkaSource(configured, ledger, exit_at_end=True), ledger) == []


def test_a_named_topic_that_is_not_there_ends_a_drain_with_one_clear_line(broker: str) -> None:
    source = KafkaSource(settings(broker, topics=("nosuch",)), MemoryLedger(), exit_at_end=True)
    with pytest.raises(BrokerError, match=r"no topic nosuch at .*; create it"):
        next(iter(source.batches()))
    source.close()


def test_a_named_topic_that_is_not_there_yet_is_waited_for(broker: str) -> None:
    topic = unique("night")
    configured = settings(broker, topics=(topic,), librdkafka={"topic.metadata.refresh.interval.ms": 500})
    source = KafkaSource(configured, MemoryLedger())
    deadline = time.monotonic() + 40
    made = False
    for number, batch in enumerate(source.batches()):
        if number == 20:
            create_topics(broker, {topic: 1})
            produce(broker, topic, [b"here"])
            made = True
        if batch.messages:
            break
        assert time.monotonic() < deadline
    source.close()
    assert made
    assert batch.messages[0].payload == b"here"


def test_a_member_is_ready_on_a_day_without_a_topic_and_not_before_the_broker_said_so(broker: str) -> None:
    source = KafkaSource(settings(broker, topics=(unique("night"),)), MemoryLedger())
    turns = source.batches()
    assert not source.ready
    wait_until(lambda: next(turns) is not None and source.ready, 30, "readiness")
    source.close()


def test_an_unreachable_broker_is_one_clear_line() -> None:
    source = KafkaSource(settings("127.0.0.1:1"), MemoryLedger())
    with pytest.raises(BrokerError, match=r"Kafka at 127\.0\.0\.1:1 does not answer.*kafka\.brokers"):
        next(iter(source.batches()))
    source.close()


@pytest.fixture
def mortal() -> Iterator[Any]:
    """A broker that a test may kill."""
    server = start_broker()
    yield server
    server.stop()


def test_a_broker_that_stays_away_ends_the_run(mortal: Any) -> None:
    topic = unique("night")
    create_topics(mortal.address, {topic: 1})
    source = KafkaSource(settings(mortal.address, topics=(topic,), broker_timeout_s=2.0), MemoryLedger())
    turns = source.batches()
    for _ in range(5):
        next(turns)
    mortal.stop()
    with pytest.raises(BrokerError, match="does not answer"):
        list(turns)
    assert not source.ready
    source.close()


def test_a_broker_that_has_messages_and_sends_none_ends_the_run_and_a_quiet_topic_does_not() -> None:
    proxy = Proxy()
    server = start_behind(proxy)
    proxy.deaf_to = FETCH
    topic, broker_timeout_s = unique("night"), 4.0
    create_topics(server.address, {topic: 1})
    produce(server.address, topic, [b"1", b"2", b"3"])
    known = {"topics": (topic,), "broker_timeout_s": broker_timeout_s, "session_timeout_ms": 2_000}
    starved = KafkaSource(settings(proxy.address, **known), MemoryLedger())
    with pytest.raises(BrokerError, match=r"\d messages or more are waiting, and none came for 4 s"):
        list(starved.batches())
    starved.close()

    proxy.deaf_to = NOTHING
    proxy.cut()
    fed, read = KafkaSource(settings(proxy.address, **known), MemoryLedger()), 0
    turns = fed.batches()
    while read < 3:
        read += len(next(turns).messages)
    until = time.monotonic() + 2.5 * broker_timeout_s
    while time.monotonic() < until:
        assert not next(turns).messages
    lost, proxy.deaf_to = proxy.deaf, FETCH
    wait_until(lambda: proxy.deaf > lost, what="a fetch that is lost")  # a client has one under way at a time
    produce(server.address, topic, [b"4"])
    with pytest.raises(BrokerError, match="1 messages or more are waiting"):
        assert not any(batch.messages for batch in turns)
    fed.close()
    server.stop()
    proxy.close()


def test_publishing_to_a_broker_that_died_fails_and_says_so(mortal: Any) -> None:
    create_topics(mortal.address, {"estampa.deadletters": 1})
    sink = KafkaSink(settings(mortal.address, delivery_timeout_ms=1_000))
    sink.publish(Results(0, 0, 0, (), ()))
    mortal.stop()
    letter = dead_letter()
    with pytest.raises(BrokerError):
        sink.publish(Results(1, 1, 0, (), (letter,)))


def test_a_record_that_the_broker_calls_a_repeat_and_cannot_place_is_not_taken_for_published() -> None:
    """One that died between noting a batch's number and writing it says so of a batch that is nowhere."""
    proxy = Proxy()
    server = start_behind(proxy)
    letters = Settings().output.dead_letter_topic
    create_topics(server.address, {letters: 1})
    sink = KafkaSink(settings(proxy.address))
    sink.publish(Results(1, 1, 0, (), (dead_letter(),)))
    proxy.mute = True
    with ThreadPoolExecutor() as pool:
        second = pool.submit(sink.publish, Results(1, 1, 0, (), (dead_letter(),)))
        wait_until(lambda: proxy.muted, what="a lost acknowledgement")  # so the record is there
        proxy.mute = False
        proxy.cut()
        with pytest.raises(BrokerError, match="published again at the next start"):
            second.result(60)
    server.stop()
    proxy.close()


def test_a_client_that_gives_up_without_a_reason_ends_the_run_in_one_line(broker: str) -> None:
    def gave_up(_: float) -> int:
        raise SystemError("flush returned NULL without setting an exception")

    sink = KafkaSink(settings(broker))
    sink._producer = SimpleNamespace(flush=gave_up)  # type: ignore[assignment]
    with pytest.raises(BrokerError, match=r"failed, see its own line above; start again"):
        sink.publish(Results(0, 0, 0, (), ()))


def dead_letter() -> Any:
    return DeadLetter.of(Message(b"x", "t", 0, 0), 0, BadAlert(Reason.EMPTY, "why"))


def test_a_refusal_names_the_setting_to_mend() -> None:
    error = KafkaError(KafkaError._AUTHENTICATION)
    assert "kafka.password" in str(explain(error, KafkaSettings()))
