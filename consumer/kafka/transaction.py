"""`delivery = "exactly_once"`: a batch's results and its offsets in one Kafka transaction.

Readers with `isolation.level = read_committed` see each message's result once. The state is written before, and may
stay when a transaction aborts: it is keyed by candid, and its first latent stays.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.configuration.settings import Settings
from consumer.errors import BrokerError
from consumer.kafka.client import ASK_S, REFUSALS, explain
from consumer.kafka.sink import KafkaSink, PayloadsRefused
from consumer.kafka.source import KafkaSource
from consumer.message import Batch, Partition
from consumer.results import Results

log = structlog.get_logger()

PAUSE_S: Final = 0.2
BEGIN_S: Final = 30.0
"""The broker ends what an earlier process of our name left open before it lets us begin."""

NO_LONGER_OURS: Final = (KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID)


class Transaction:
    """A Kafka source and a Kafka sink in one, as the loop's source and as its sink.

    What was published is seen by no reader before `commit`. A transaction that aborts is made again from the results
    in hand; where the group has given our part to another, or another process has our name, the run ends instead.
    Raises BrokerError.
    """

    def __init__(self, settings: Settings, source: KafkaSource) -> None:
        self._kafka, self._source = settings.kafka, source
        ours = {
            "transactional.id": settings.kafka.transactional_id,
            "transaction.timeout.ms": settings.kafka.delivery_timeout_ms,
        }
        self._sink = KafkaSink(settings, ours)
        self._producer = self._sink.producer
        self._results = Results(0, 0, 0, (), ())
        try:
            self._producer.init_transactions(min(settings.kafka.broker_timeout_s, BEGIN_S))
        except KafkaException as error:
            self._sink.check()  # tells a refusal from a broker that is away
            raise explain(error.args[0], self._kafka) from error

    def batches(self) -> Iterator[Batch]:
        """The source's batches, each followed by an empty one: so the loop finishes it before another is read, and what
        is in hand when the group changes is never another's already.
        """
        for batch in self._source.batches():
            yield batch
            if batch.messages:
                yield Batch(())

    def publish(self, results: Results) -> None:
        """Keep a batch's results for its transaction."""
        self._results = results

    def commit(self, batch: Batch) -> None:
        """Publish the results kept and commit the offsets of `batch`, both or neither."""
        deadline = time.monotonic() + self._kafka.broker_timeout_s
        committed = self._source.committed
        results = unpublished(self._results, committed)
        offsets = {place: offset for place, offset in batch.offsets.items() if offset > committed[place]}
        while True:
            try:
                self._transact(results, offsets)
            except PayloadsRefused:
                self._abort()
            except (KafkaException, BrokerError) as error:
                self._abort()
                self._judge(error, deadline)
            else:
                committed.update(offsets)
                return

    def close(self) -> None:
        """Nothing waits: every batch's transaction was ended."""

    def _transact(self, results: Results, offsets: Mapping[Partition, int]) -> None:
        places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        self._producer.begin_transaction()
        self._sink.publish(results)
        member = self._source.membership()
        self._insist(lambda: self._producer.send_offsets_to_transaction(places, member, ASK_S))
        self._insist(lambda: self._producer.commit_transaction(ASK_S))

    def _insist(self, step: Callable[[], object]) -> None:
        """Take a step, and again while librdkafka says that it may be resumed."""
        deadline = time.monotonic() + self._kafka.broker_timeout_s
        while True:
            try:
                step()
            except KafkaException as error:
                self._sink.check()
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise
            else:
                return

    def _abort(self) -> None:
        """Where even this fails, the broker aborts by itself: after `transaction.timeout.ms`, or at our next start."""
        try:
            self._producer.abort_transaction(ASK_S)
        except KafkaException as error:
            log.warning("abort_failed", reason=error.args[0].str())

    def _judge(self, failure: KafkaException | BrokerError, deadline: float) -> None:
        """Raise unless the transaction can be made again."""
        if isinstance(failure, BrokerError):
            raise failure
        error: KafkaError = failure.args[0]
        if error.code() in NO_LONGER_OURS:
            raise BrokerError(
                f"group {self._kafka.group} went on without us ({error.str()}): the transaction was aborted, readers "
                "see none of it; start again"
            ) from failure
        if error.code() in REFUSALS or not error.txn_requires_abort() or time.monotonic() > deadline:
            raise explain(error, self._kafka) from failure
        log.warning("transaction_aborted", reason=error.str())
        time.sleep(PAUSE_S)


def unpublished(results: Results, committed: Mapping[Partition, int]) -> Results:
    """The results without those that the group had committed before: of a store that is refilled, or a time gone back
    to.
    """
    made = [one for one in results.classifications if one.offset >= committed.get((one.topic, one.partition), 0)]
    dead = [one for one in results.dead_letters if one.place[2] >= committed.get(one.place[:2], 0)]
    return replace(results, classifications=made, dead_letters=dead)
