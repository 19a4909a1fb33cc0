"""`delivery = "exactly_once"`: results and offsets together or not at all, and never two processes of one name."""

import os
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from consumer.configuration.load import load_settings
from consumer.configuration.settings import Settings
from consumer.deadletters.dead_letter import DeadLetter
from consumer.errors import BadAlert, BrokerError, Reason
from consumer.kafka.source import KafkaSource
from consumer.kafka.transaction import Transaction, unpublished
from consumer.message import Batch, Message
from consumer.results import Results
from tests.consumer.kafka.test_source import MemoryLedger
from tests.support.line import SESSION_MS, new_topics, produce, read_topic, unique
from tests.support.makers import made

pytestmark = pytest.mark.integration

HIDES_ABORTED = pytest.mark.skipif(
    "ESTAMPA_TEST_KAFKA" not in os.environ,
    reason="the embedded broker shows aborted records to read_committed readers; name another by ESTAMPA_TEST_KAFKA",
)


def settings(broker: str, topics: dict[str, str], **kafka: Any) -> Settings:
    base = {"brokers": broker, "group": unique("g"), "topics": (topics["topic"],), "session_timeout_ms": SESSION_MS}
    base |= {"delivery": "exactly_once", "delivery_timeout_ms": 10_000, "transactional_id": unique("name")}
    output = {"topic": topics["output"], "dead_letter_topic": topics["dead"]}
    return load_settings(None, {"kafka": {**base, **kafka}, "output": output, "batch": {"size": 10}})


class Member:
    """One process's source and transaction, its batch in hand."""

    def __init__(self, configured: Settings, ledger: MemoryLedger) -> None:
        self.configured, self.ledger = configured, ledger
        self.source = KafkaSource(configured, ledger, exit_at_end=True)
        self.both = Transaction(configured, self.source)
        self.batches = self.both.batches()

    def next(self) -> Batch:
        """A batch with messages, remembered and handed over for publishing, as the loop does it."""
        batch = next(one for one in self.batches if one.messages)
        self.ledger.offsets |= batch.offsets
        self.both.publish(results_of(batch))
        return batch

    def close(self) -> None:
        self.source.close()


def results_of(batch: Batch) -> Results:
    """Every message a dead letter, which carries its bytes: what was published is told by them."""
    dead = [DeadLetter.of(one, 0, BadAlert(Reason.EMPTY, "why")) for one in batch.messages]
    return Results(len(dead), len(dead), 0, (), dead)


def sent(broker: str, messages: int) -> dict[str, str]:
    topics = new_topics(broker)
    produce(broker, topics["topic"], [b"%d" % number for number in range(messages)])
    return topics


def committed(configured: Settings, topics: dict[str, str]) -> int:
    """What the group has committed, as a reader of its own asks."""
    reader = Consumer({"bootstrap.servers": configured.kafka.brokers, "group.id": configured.kafka.group})
    [found] = reader.committed([TopicPartition(topics["topic"], 0)], timeout=10)
    reader.close()
    return int(found.offset)


def published(broker: str, topics: dict[str, str]) -> list[bytes]:
    return [one.value() for one in read_topic(broker, topics["dead"])]


def numbers(until: int) -> Sequence[bytes]:
    return [b"%d" % number for number in range(until)]


def test_results_and_offsets_go_together(broker: str) -> None:
    topics = sent(broker, 25)
    configured, ledger = settings(broker, topics), MemoryLedger()
    member = Member(configured, ledger)
    batch = member.next()
    assert committed(configured, topics) < 0
    member.both.commit(batch)
    assert committed(configured, topics) == len(batch.messages)
    for one in member.batches:
        if one.messages:
            member.both.publish(results_of(one))
            member.both.commit(one)
    member.close()
    assert committed(configured, topics) == 25
    assert published(broker, topics) == numbers(25)


def test_a_batch_is_finished_before_another_is_read(broker: str) -> None:
    """So that a partition given away is never in hand: the loop decodes ahead only behind a full batch."""
    topics = sent(broker, 25)
    member = Member(settings(broker, topics), MemoryLedger())
    sizes = [len(batch.messages) for batch in member.batches]
    member.close()
    assert sum(sizes) == 25
    assert all(not after for before, after in pairwise(sizes) if before)


class Refusing:
    """A producer whose broker refuses the offsets of the first transactions, as in the middle of a rebalance."""

    def __init__(self, producer: Any, refusals: Sequence[KafkaError]) -> None:
        self._producer, self._refusals = producer, list(refusals)

    def send_offsets_to_transaction(self, *words: Any) -> None:
        if self._refusals:
            raise KafkaException(self._refusals.pop(0))
        self._producer.send_offsets_to_transaction(*words)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def refusal(code: int) -> KafkaError:
    return KafkaError(code, "refused", False, False, True)  # not fatal, not to be resumed, to be aborted


def test_an_aborted_transaction_leaves_offsets_and_state_alone_and_is_made_again(broker: str) -> None:
    topics = sent(broker, 5)
    configured, ledger = settings(broker, topics), MemoryLedger()
    member = Member(configured, ledger)
    batch = member.next()
    member.both._producer = Refusing(member.both._producer, [refusal(KafkaError.REBALANCE_IN_PROGRESS)])
    member.both.commit(batch)
    member.close()
    assert committed(configured, topics) == 5
    assert set(published(broker, topics)) == set(numbers(5))


def test_a_member_whose_part_was_given_away_ends_with_one_line_and_commits_nothing(broker: str) -> None:
    topics = sent(broker, 5)
    configured, ledger = settings(broker, topics), MemoryLedger()
    member = Member(configured, ledger)
    batch = member.next()
    member.both._producer = Refusing(member.both._producer, [refusal(KafkaError.ILLEGAL_GENERATION)])
    with pytest.raises(BrokerError, match=r"went on without this member .*readers see none of it; start again"):
        member.both.commit(batch)
    member.close()
    assert committed(configured, topics) < 0
    again = Member(configured, ledger)  # the store is ahead of the group now, and that harms nothing
    batch = again.next()
    assert [one.payload for one in batch.messages] == numbers(5)
    again.both.commit(batch)
    again.close()
    assert committed(configured, topics) == 5


def test_a_zombie_is_fenced_and_says_which_setting(broker: str) -> None:
    topics = sent(broker, 5)
    configured = settings(broker, topics)
    zombie = Member(configured, MemoryLedger())
    batch = zombie.next()
    successor = Transaction(configured, zombie.source)
    started = time.monotonic()
    with pytest.raises(BrokerError, match=r"kafka\.transactional_id"):
        zombie.both.commit(batch)
    assert time.monotonic() - started < 60
    assert committed(configured, topics) < 0
    successor.publish(results_of(batch))
    successor.commit(batch)
    zombie.close()
    assert committed(configured, topics) == 5


class Losing:
    """A producer whose client forgets what it is about to raise, as it does when a delivery report comes just then."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def flush(self, timeout: float) -> int:
        try:
            return self._producer.flush(timeout)
        except (KafkaException, SystemError):
            raise SystemError("flush returned NULL without setting an exception") from None


def test_a_zombie_whose_client_forgot_why_it_ended_says_which_setting(broker: str) -> None:
    topics = sent(broker, 5)
    configured = settings(broker, topics)
    zombie = Member(configured, MemoryLedger())
    batch = zombie.next()
    Transaction(configured, zombie.source)
    sink = zombie.both._sink
    sink._producer = Losing(sink.producer)  # type: ignore[assignment]
    with pytest.raises(BrokerError, match=r"kafka\.transactional_id"):
        zombie.both.commit(batch)
    zombie.close()
    assert committed(configured, topics) < 0


def test_what_the_group_had_committed_is_read_again_for_the_store_and_not_published_again(broker: str) -> None:
    topics = sent(broker, 5)
    configured, ledger = settings(broker, topics), MemoryLedger()
    member = Member(configured, ledger)
    member.both.commit(member.next())
    member.close()
    produce(broker, topics["topic"], [b"5"])
    ledger.offsets.clear()  # the store is emptied
    again = Member(configured, ledger)
    read: list[Any] = []
    while len(read) < 6:
        batch = again.next()
        read += [one.payload for one in batch.messages]
        again.both.commit(batch)
    again.close()
    assert read == numbers(6)
    assert published(broker, topics) == numbers(6)


def test_results_are_left_out_by_the_place_their_message_had() -> None:
    results = results_of(Batch.from_topics([message(offset) for offset in (3, 4, 5)]))
    assert [one.message.offset for one in unpublished(results, {("t", 0): 4}).dead_letters] == [4, 5]
    assert len(unpublished(results, {("t", 0): -1001}).dead_letters) == 3


def test_a_result_at_the_committed_offset_itself_was_not_published_before() -> None:
    """A committed offset is that of the next message."""
    results = Results(3, 3, 0, [made(offset, topic="t", partition=0, offset=offset) for offset in (3, 4, 5)], ())
    assert [one.offset for one in unpublished(results, {("t", 0): 4}).classifications] == [4, 5]
    assert len(unpublished(results, {("other", 0): 4}).classifications) == 3


def test_a_batch_that_was_committed_is_not_published_a_second_time(broker: str) -> None:
    topics = sent(broker, 5)
    configured = settings(broker, topics)
    member = Member(configured, MemoryLedger())
    batch = member.next()
    for _ in range(2):
        member.both.commit(batch)
    assert member.source.committed == batch.offsets
    member.close()
    assert published(broker, topics) == numbers(len(batch.messages))


def message(offset: int) -> Message:
    return Message(b"x", "t", 0, offset)


@HIDES_ABORTED
def test_a_reader_of_what_is_committed_sees_no_record_of_an_aborted_transaction(broker: str) -> None:
    topics = sent(broker, 5)
    configured = settings(broker, topics)
    member = Member(configured, MemoryLedger())
    batch = member.next()
    member.both._producer = Refusing(member.both._producer, [refusal(KafkaError.REBALANCE_IN_PROGRESS)] * 3)
    member.both.commit(batch)
    member.close()
    assert published(broker, topics) == numbers(5)


def test_a_broker_that_is_away_is_one_clear_line_at_the_start() -> None:
    topics = {"topic": "t", "output": "o", "dead": "d"}
    configured = settings("127.0.0.1:1", topics, broker_timeout_s=2.0)
    source = KafkaSource(configured, MemoryLedger())
    with pytest.raises(BrokerError, match="does not answer"):
        Transaction(configured, source)
    source.close()
