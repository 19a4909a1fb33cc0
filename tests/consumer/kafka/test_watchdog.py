"""Silence, counted by a clock that the test moves."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from consumer.configuration.settings import Settings
from consumer.errors import BrokerError
from consumer.kafka.watchdog import Watchdog

PATIENCE_S = 90
"""Two sessions: more than `kafka.broker_timeout_s`."""


class Looking:
    """A watchdog that looks once a second, and the clock it looks at."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.watchdog = Watchdog(Settings())

    def look(self, seconds: int, *, waiting: int = 0, partitions: int = 1) -> None:
        for _ in range(seconds):
            self.now += 1
            self.watchdog.check_group(lambda: partitions)
            self.watchdog.check_flow(0, lambda: waiting)


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Looking:
    made = Looking()
    monkeypatch.setattr("consumer.kafka.watchdog.time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def test_messages_that_wait_and_do_not_come_end_the_run(looking: Looking) -> None:
    looking.look(PATIENCE_S, waiting=5)
    with pytest.raises(BrokerError, match="5 messages or more are waiting, and none came for 90 s"):
        looking.look(2, waiting=5)


def test_a_part_given_after_a_long_silence_has_time_for_its_first_message(looking: Looking) -> None:
    looking.look(PATIENCE_S)
    looking.watchdog.assigned()
    looking.look(PATIENCE_S, waiting=5)
    with pytest.raises(BrokerError, match="messages or more are waiting"):
        looking.look(1, waiting=5)


def test_a_group_that_does_not_answer_ends_the_run(looking: Looking) -> None:
    looking.watchdog.expect_assignment()
    looking.look(PATIENCE_S)
    with pytest.raises(BrokerError, match="assigned none of its 1 partitions"):
        looking.look(1)


@pytest.mark.parametrize("owed", [Watchdog.expect_assignment, Watchdog.assigned], ids=["an answer", "messages"])
def test_a_machine_that_stood_still_was_not_silent(looking: Looking, owed: Callable[[Watchdog], None]) -> None:
    owed(looking.watchdog)
    looking.look(PATIENCE_S - 10, waiting=5)
    looking.now += 2 * PATIENCE_S
    looking.look(PATIENCE_S, waiting=5)
    with pytest.raises(BrokerError):
        looking.look(2, waiting=5)
