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
"""The broker first aborts what an earlier process of the same transactional id left open."""

MEMBER_CHANGED: Final = (KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID)


class Transaction:
    """Source and sink of the pipeline in one: publishes results and commits offsets in one Kafka transaction.

    No reader sees a result before `commit`. A transaction that aborts is repeated with the same results; where the
    group has assigned the partitions to another member, or another process uses the transactional id, the run ends.
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
            self._sink.check()  # a refusal is raised as such
            raise explain(error.args[0], self._kafka) from error

    def batches(self) -> Iterator[Batch]:
        """The source's batches, each followed by an empty one: the pipeline then finishes a batch before the next is
        read, and a rebalance never finds one that another member reads again.
        """
        for batch in self._source.batches():
            yield batch
            if batch.messages:
                yield Batch(())

    def publish(self, results: Results) -> None:
        """Hold a batch's results for its transaction."""
        self._results = results

    def commit(self, batch: Batch) -> None:
        """Publish the held results and commit the offsets of `batch`, both or neither."""
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
                self._check_repeatable(error, deadline)
            else:
                committed.update(offsets)
                return

    def close(self) -> None:
        """Every transaction was ended: nothing is open."""

    def _transact(self, results: Results, offsets: Mapping[Partition, int]) -> None:
        places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        self._producer.begin_transaction()
        self._sink.publish(results)
        member = self._source.membership()
        self._retry(lambda: self._producer.send_offsets_to_transaction(places, member, ASK_S))
        self._retry(lambda: self._producer.commit_transaction(ASK_S))

    def _retry(self, step: Callable[[], object]) -> None:
        """Run a step of a transaction, again while librdkafka says that it is retriable."""
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

    def _check_repeatable(self, failure: KafkaException | BrokerError, deadline: float) -> None:
        """Raise unless the transaction can be repeated."""
        if isinstance(failure, BrokerError):
            raise failure
        error: KafkaError = failure.args[0]
        if error.code() in MEMBER_CHANGED:
            raise BrokerError(
                f"group {self._kafka.group} went on without this member ({error.str()}): the transaction was "
                "aborted, readers see none of it; start again"
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
