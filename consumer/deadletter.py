"""Alerts that could not be classified: what is kept of them, and how many are too many."""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Self

from consumer.errors import BadAlert, Reason, TooManyBadAlerts
from consumer.message import Message

HEADER: Final = "estampa."
RATIO_OVER: Final = 1_000
"""Alerts over which the share of dead letters is taken."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An alert, whole, and why it is here. index: which of its container, from 0. time_ms: since 1970.

    omitted: why the original bytes are not with it; they stay at its place. "" where they are.
    """

    message: Message
    index: int
    reason: Reason
    explanation: str
    time_ms: int
    omitted: str = ""

    @classmethod
    def of(cls, message: Message, index: int, bad: BadAlert) -> Self:
        return cls(message, index, bad.reason, str(bad), time.time_ns() // 1_000_000)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """What `record` gave. Raises ValueError or KeyError where it is none."""
        time_ms = record["time"].timestamp() * 1000 if isinstance(record["time"], datetime) else record["time"]
        message = Message(record["payload"], record["source"], int(record["partition"]), int(record["position"]))
        return cls(message, int(record["record"]), Reason(record["reason"]), record["message"], int(time_ms))

    @classmethod
    def from_headers(cls, payload: bytes | None, headers: Mapping[str, str | bytes | None]) -> Self:
        """What came back of `payload` and `headers`. Raises ValueError or KeyError where they are no dead letter's."""
        texts = {name: value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}
        facts = {name.removeprefix(HEADER): text for name, text in texts.items() if name.startswith(HEADER)}
        return cls.from_record({"payload": payload, **facts})

    @property
    def place(self) -> tuple[str, int, int, int]:
        """Source, partition, position, record: which alert it is. A batch seen again gives its letters again."""
        return self.message.topic, self.message.partition, self.message.offset, self.index

    @property
    def payload(self) -> bytes | None:
        """The original bytes. A private alert's stay where they were: a dead-letter topic has other readers."""
        return None if self.reason is Reason.PRIVATE or self.omitted else self.message.payload

    def without_payload(self, why: str) -> Self:
        """The same, its bytes left where they are."""
        return replace(self, omitted=why)

    def record(self) -> dict[str, Any]:
        """`schemas/deadletter/1`."""
        return {
            "payload": self.payload,
            "reason": str(self.reason),
            "message": self.explanation,
            "source": self.message.topic,
            "partition": self.message.partition,
            "position": self.message.offset,
            "record": self.index,
            "time": self.time_ms,
        }

    def facts(self) -> dict[str, Any]:
        """The record without the payload."""
        return {name: value for name, value in self.record().items() if name != "payload"}

    def headers(self) -> list[tuple[str, str | bytes | None]]:
        """The same as Kafka headers, beside the untouched payload."""
        omitted = {"payload_omitted": self.omitted} if self.omitted else {}
        return [(f"{HEADER}{name}", str(value).encode()) for name, value in {**self.facts(), **omitted}.items()]


@dataclass(slots=True)
class Bound:
    """Stops a run whose dead letters say that the fault is ours: a bad deploy, a wrong topic, a new schema.

    ratio: of the last 1,000 alerts. run: in a row. Alerts of programs that are not admitted are no fault.
    """

    ratio: float
    run: int
    _recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RATIO_OVER))
    _bad: int = 0
    _run: int = 0

    def check(self, outcomes: Iterable[Reason | None]) -> None:
        """Note outcomes in stream order, None for a good alert. Raises TooManyBadAlerts past the bound."""
        for reason in outcomes:
            bad = reason is not None and reason is not Reason.PRIVATE
            self._bad += bad - (self._recent[0] if len(self._recent) == RATIO_OVER else 0)
            self._recent.append(bad)
            self._run = self._run + 1 if bad else 0
            share = self._bad / RATIO_OVER
            if self._run >= self.run or share > self.ratio:
                raise TooManyBadAlerts(
                    f"{self._run} alerts in a row and {share:.0%} of the last {RATIO_OVER} are dead letters, the last "
                    f"for {reason}; look at them, mend the cause or raise limits.dead_letter_run and _ratio"
                )
