"""Where a group reads on in each partition, and which messages it takes, against a real broker."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as KafkaMessage
from prometheus_client import REGISTRY

from consumer.configuration.load import load_settings
from consumer.configuration.settings import Settings
from consumer.embedded import create_topics
from consumer.errors import BrokerError, StoreError
from consumer.kafka.source import KafkaSource
from consumer.kafka.watchdog import Watchdog
from tests.consumer.kafka.test_source import FETCH, MemoryLedger, drain, settings
from tests.support.front import Front, Stream, start_behind
from tests.support.line import produce, unique

pytestmark = pytest.mark.integration


@pytest.fixture
def topic(broker: str) -> str:
    """A topic of two partitions, with five messages in the first."""
    name = unique("night")
    create_topics(broker, {name: 2})
    produce(broker, name, [b"%d" % number for number in range(5)], each=True, partition=0)
    return name


def stopping(configured: Settings) -> Settings:
    """The same, for a group that does not refill a store that is behind."""
    return load_settings(None, {**configured.model_dump(exclude_unset=True), "store": {"on_data_loss": "stop"}})


def offsets(source: KafkaSource, ledger: MemoryLedger, *, commit: bool = True) -> list[int]:
    return [message.offset for message in drain(source, ledger, commit=commit)]


def committed(broker: str, topic: str) -> tuple[Settings, MemoryLedger]:
    """A group that has committed the five messages of partition 0, and a store that holds them."""
    configured, ledger = settings(broker, topics=(topic,)), MemoryLedger()
    assert offsets(KafkaSource(configured, ledger, exit_at_end=True), ledger) == [0, 1, 2, 3, 4]
    return configured, ledger


def test_a_store_that_holds_just_what_was_committed_is_not_behind(broker: str, topic: str) -> None:
    configured, ledger = committed(broker, topic)
    assert ledger.offsets == {(topic, 0): 5}
    produce(broker, topic, [b"5"], partition=0)
    assert offsets(KafkaSource(stopping(configured), ledger, exit_at_end=True), ledger) == [5]


@pytest.mark.parametrize(("held", "read"), [(3, [3, 4]), (None, [0, 1, 2, 3, 4])])
def test_a_store_that_is_behind_is_refilled_from_what_it_holds(
    broker: str, topic: str, held: int | None, read: list[int]
) -> None:
    configured, ledger = committed(broker, topic)
    ledger.offsets = {} if held is None else {(topic, 0): held}
    with pytest.raises(StoreError, match=f"up to {held}, Kafka committed 5"):
        drain(source := KafkaSource(stopping(configured), ledger, exit_at_end=True), ledger)
    source.close()
    assert offsets(KafkaSource(configured, ledger, exit_at_end=True), ledger) == read


@pytest.mark.parametrize("begun", [False, True])
def test_a_group_that_has_committed_anything_does_not_begin_anew(broker: str, topic: str, begun: bool) -> None:
    """`start` is for the first start only: a partition without a commit is then read whole, and not from its end."""
    configured = settings(broker, topics=(topic,), start="latest")
    ledger = MemoryLedger()
    if begun:
        member = Consumer({"bootstrap.servers": broker, "group.id": configured.kafka.group})
        member.commit(offsets=[TopicPartition(topic, 0, 5)], asynchronous=False)
        member.close()
        ledger.offsets = {(topic, 0): 5}
    produce(broker, topic, [b"x"], partition=1, each=True)
    found = drain(KafkaSource(configured, ledger, exit_at_end=True), ledger)
    assert [(one.partition, one.offset) for one in found] == ([(1, 0)] if begun else [])


@pytest.fixture
def halves(broker: str) -> tuple[str, int]:
    """A topic with three messages before a time, milliseconds since 1970, and two after it."""
    name = unique("night")
    create_topics(broker, {name: 1})
    produce(broker, name, [b"early"] * 3)
    time.sleep(0.2)
    between = int(datetime.now(UTC).timestamp() * 1000)
    time.sleep(0.2)
    produce(broker, name, [b"late"] * 2)
    return name, between


def test_a_group_goes_back_to_a_time_once_in_each_partition(broker: str, halves: tuple[str, int]) -> None:
    """A partition that is given a second time, as after a rebalance, is read on where the group was."""
    topic, between = halves
    configured, ledger = settings(broker, topics=(topic,)), MemoryLedger()
    assert len(drain(KafkaSource(configured, ledger, exit_at_end=True), ledger)) == 5
    with closing(KafkaSource(configured, ledger, since_ms=between)) as source:
        places = [source._positions.assigned(source._consumer, [TopicPartition(topic, 0)])[0].offset for _ in range(2)]
        assert places == [3, 5]


def test_going_back_to_a_time_never_skips_what_was_not_read(broker: str, halves: tuple[str, int]) -> None:
    topic, between = halves
    configured, ledger = settings(broker, topics=(topic,)), MemoryLedger()
    member = Consumer({"bootstrap.servers": broker, "group.id": configured.kafka.group})
    member.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    member.close()
    ledger.offsets = {(topic, 0): 1}
    found = drain(KafkaSource(configured, ledger, exit_at_end=True, since_ms=between), ledger)
    assert [one.offset for one in found] == [1, 2, 3, 4]


def received(broker: str, topic: str, count: int) -> list[KafkaMessage]:
    """Messages as the client gives them, read by another."""
    reader = Consumer({"bootstrap.servers": broker, "group.id": unique("reader")})
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found: list[KafkaMessage] = []
    while len(found) < count:
        found += [one for one in reader.consume(count, 1.0) if one.error() is None]
    reader.close()
    return found


def test_a_message_of_a_partition_that_is_no_longer_ours_is_left_to_whoever_has_it(broker: str, topic: str) -> None:
    with closing(KafkaSource(settings(broker, topics=(topic,)), MemoryLedger())) as source:
        message = received(broker, topic, 1)[0]
        source._assigned = {(topic, 1): None}
        assert not source._is_alert(message)
        assert source._assigned == {(topic, 1): None}


def test_a_partition_is_not_at_its_end_once_another_message_came(broker: str, topic: str) -> None:
    with closing(KafkaSource(settings(broker, topics=(topic,)), MemoryLedger())) as source:
        source._assigned = {(topic, 0): 5}
        assert source._at_end()
        assert source._is_alert(received(broker, topic, 1)[0])
        assert not source._at_end()


def test_a_member_is_ready_once_it_has_its_partitions_and_not_before(broker: str, topic: str) -> None:
    with closing(KafkaSource(settings(broker, topics=(topic,)), MemoryLedger())) as source:
        assert not source.ready
        for batch in source.batches():
            assert source.ready == bool(source._assigned)
            if batch.messages:
                break


def test_lag_is_the_messages_of_a_partition_that_were_not_read(broker: str) -> None:
    topic = unique("night")
    create_topics(broker, {topic: 1})
    produce(broker, topic, [b"x"] * 25, each=True)
    with closing(KafkaSource(settings(broker, topics=(topic,)), MemoryLedger())) as source:
        read = 0
        for batch in source.batches():
            read += len(batch.messages)
            if 0 < read < 25:
                source._lag_due = 0.0
                source._measure_lag()
                shown = REGISTRY.get_sample_value("estampa_lag_messages", {"topic": topic, "partition": "0"})
                assert shown == 25 - read
            if read == 25:
                break


class Fetches(Front):
    """Notes the isolation level that clients fetch with: 0 for all records, 1 for those of committed transactions."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []

    async def admit(self, near: Stream, far: Stream) -> bool:
        answers = asyncio.ensure_future(far.pump(near))
        while True:
            request = await near.frame()
            key, version = (int.from_bytes(request[place : place + 2], "big") for place in (0, 2))
            if key == FETCH:
                body = 10 + int.from_bytes(request[8:10], "big") + (version >= 12)  # 12 and later: tags in the header
                self.levels.append(request[body + (12 if version >= 15 else 16)])  # 15 and later: no replica
            await far.send_frame(request)
            if answers.done():
                return False


@pytest.fixture
def fetches() -> Iterator[Fetches]:
    front = Fetches()
    server = start_behind(front)
    yield front
    server.stop()
    front.close()


def test_records_of_transactions_that_were_not_committed_are_not_asked_for(fetches: Fetches) -> None:
    topic = unique("night")
    create_topics(fetches.address, {topic: 1})
    produce(fetches.address, topic, [b"x"])
    ledger = MemoryLedger()
    found = drain(KafkaSource(settings(fetches.address, topics=(topic,)), ledger, exit_at_end=True), ledger)
    assert len(found) == 1
    assert set(fetches.levels) == {1}


@pytest.mark.parametrize("fatal", [True, False])
def test_an_error_that_the_client_does_not_survive_ends_the_run_whatever_its_code(fatal: bool) -> None:
    watchdog = Watchdog(Settings())
    watchdog.on_error(KafkaError(KafkaError._INCONSISTENT, "gone for good", fatal))
    assert isinstance(watchdog.fault, BrokerError) == fatal
