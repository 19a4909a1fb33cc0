"""`estampa`, killed by SIGKILL at the n-th call of one of its stages: `python -m tests.chaos.mortal STAGE N WORDS…`.

The classes that the command line wires together are wrapped from outside. Nothing in the program knows of it.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from consumer.__main__ import main as estampa
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.transaction import Transaction
from consumer.store.redis_store import RedisStore

STAGES: dict[str, tuple[type, str, str]] = {
    "before_assign": (KafkaSource, "_assign", "before"),
    "after_assign": (KafkaSource, "_assign", "after"),
    "before_remember": (RedisStore, "remember", "before"),
    "between_state_and_publish": (RedisStore, "remember", "after"),
    "in_the_middle_of_publishing": (KafkaSink, "_produce", "after"),
    "before_delivery_is_known": (KafkaSink, "publish", "unflushed"),
    "between_publish_and_commit": (KafkaSink, "publish", "after"),
    "between_stored_offset_and_commit": (KafkaSource, "_commit_stored", "before"),
    "after_commit": (KafkaSource, "commit", "after"),
}
"""Stage → class, method, and when of its n-th call."""

TRANSACTION_STAGES: dict[str, tuple[type, str, str]] = {
    "between_state_and_transaction": (Transaction, "publish", "before"),
    "in_the_middle_of_a_transaction": (KafkaSink, "_produce", "after"),
    "between_results_and_offsets": (KafkaSource, "membership", "before"),
    "between_offsets_and_end_of_transaction": (Transaction, "_retry", "after"),
    "after_transaction": (Transaction, "commit", "after"),
}
"""The same, of `delivery = "exactly_once"`."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def mortal(method: Callable[..., Any], calls: int, when: str) -> Callable[..., Any]:
    """`method`, whose n-th call is the last thing that the process does."""
    made = 0

    def called(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        if made == calls and when == "before":
            die()
        if made == calls and when == "unflushed":
            self._producer = Unflushed(self._producer)
        answer = method(self, *args, **options)
        if made == calls and when == "after":
            die()
        return answer

    return called


class Unflushed:
    """A producer that is killed where it would wait for the broker's word."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    def flush(self, *_: Any) -> None:
        die()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def main() -> None:
    stage, calls, *words = sys.argv[1:]
    kind, name, when = (STAGES | TRANSACTION_STAGES)[stage]
    setattr(kind, name, mortal(getattr(kind, name), int(calls), when))
    sys.argv = ["estampa", *words]
    estampa()


if __name__ == "__main__":
    main()
