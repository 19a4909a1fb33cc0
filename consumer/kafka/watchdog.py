"""Tells a quiet night from a broker that does not answer or send, and from a group that assigns no partitions."""

import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException

from consumer.configuration.settings import Settings
from consumer.errors import BrokerError, StoreError
from consumer.kafka.client import REASON_S, REFUSALS, UNREACHABLE, explain

log = structlog.get_logger()

LOOK_S: Final = 2.0
"""Longest time between two checks, besides `batch.wait_ms`. After a longer one a batch was being processed, or the
machine stood still, and the time without messages starts anew.
"""


class Watchdog:
    """Of one consumer. librdkafka's callbacks must not raise: they note an error here, and the checks raise it.

    fault: the error that ends the run. up: whether the broker answers, as far as is known.
    """

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._look_s = LOOK_S + settings.batch.wait_ms / 1000
        self.fault: BrokerError | StoreError | None = None
        self._down_since: float | None = None
        self._waiting_since: float | None = None  # for the group to assign partitions
        self._silent_since = self._looked_at = float("-inf")  # no message came in checks without a gap

    @property
    def up(self) -> bool:
        return self._down_since is None

    @property
    def awaiting_assignment(self) -> bool:
        """Whether the group has yet to assign partitions to this member."""
        return self._waiting_since is not None

    def on_error(self, error: KafkaError) -> None:
        """Note an error that librdkafka reports."""
        if error.code() in REFUSALS or error.fatal():
            self.fault = explain(error, self._kafka)
        elif error.code() in UNREACHABLE and self._down_since is None:
            self._down_since = time.monotonic()
            log.warning("broker_away", brokers=self._kafka.brokers, error=error.str())

    def expect_assignment(self) -> None:
        """Expect the group to assign partitions from now on."""
        self._waiting_since = time.monotonic()

    def assigned(self) -> None:
        """The group has assigned partitions, or none. Their messages have had no time to come yet."""
        self._waiting_since = None
        self._silent_since = time.monotonic()

    def request(self, consumer: Consumer, request: Callable[[], Any]) -> Any:
        """A request to the broker before anything is subscribed to. Raises BrokerError with the reason of a refusal."""
        try:
            return request()
        except KafkaException as error:
            consumer.poll(REASON_S)  # brings no message yet, only why the broker refused
            raise self.fault or explain(error.args[0], self._kafka) from error

    def check_broker(self, consumer: Consumer) -> None:
        """Raise BrokerError after a refusal, and where the broker has not answered for `kafka.broker_timeout_s`."""
        if self.fault:
            raise self.fault
        if self._down_since is None:
            return
        away_s = time.monotonic() - self._down_since
        try:
            consumer.list_topics(timeout=1.0)
        except KafkaException as error:
            if away_s > self._kafka.broker_timeout_s:
                raise explain(error.args[0], self._kafka) from error
        else:
            log.info("broker_back", away_s=round(away_s, 1))
            self._down_since = None

    def check_group(self, partitions: Callable[[], int]) -> None:
        """Raise BrokerError where the group assigns none of its partitions. partitions: how many there are."""
        if self._waiting_since is None:
            return
        if self._checks_had_a_gap(now := time.monotonic()):
            self.expect_assignment()
        elif now - self._waiting_since >= self._silence_s:
            if there := partitions():
                raise self._starved(f"group {self._kafka.group} assigned none of its {there} partitions to this member")
            self.expect_assignment()

    def check_flow(self, received: int, waiting: Callable[[], int]) -> None:
        """Raise BrokerError where the broker has messages and sends none. waiting: how many it has."""
        now = time.monotonic()
        if received or not self.up or self._checks_had_a_gap(now):
            self._silent_since = now
        self._looked_at = now
        if now - self._silent_since > self._silence_s:
            if there := waiting():
                raise self._starved(f"{there} messages or more are waiting, and none came")
            self._silent_since = now

    def _checks_had_a_gap(self, now: float) -> bool:
        return now - self._looked_at > self._look_s

    @property
    def _silence_s(self) -> float:
        return max(self._kafka.broker_timeout_s, 2 * self._kafka.session_timeout_ms / 1000)

    def _starved(self, what: str) -> BrokerError:
        where = f"for {self._silence_s:g} s at {self._kafka.brokers}"
        return BrokerError(f"{what} {where}: start again, and look at the broker if it stays so")
