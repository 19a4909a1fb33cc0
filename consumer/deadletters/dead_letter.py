"""Alerts that could not be classified: what is kept of them, and how many are too many."""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Self

from consumer.errors import EXPLAINED, BadAlert, Reason, TooManyBadAlerts, shortened
from consumer.message import Message

HEADER: Final = "estampa."
LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, milliseconds since 1970: what comes after it is no date to Python."""
MAX_SOURCE: Final = 4_096
"""Characters of a source: a topic's name, or a path."""
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
        """What `record` gave. Raises ValueError, TypeError or KeyError where it is none."""
        time_ms = record["time"].timestamp() * 1000 if isinstance(record["time"], datetime) else record["time"]
        source, explanation = str(record["source"]), shortened(str(record["message"]), EXPLAINED)
        if len(source) > MAX_SOURCE:
            raise ValueError(f"source is {len(source)} characters long; {MAX_SOURCE} at the most are a name")
        partition, position, index = (_count(record, name) for name in ("partition", "position", "record"))
        message = Message(record["payload"], source, partition, position)
        return cls(message, index, Reason(record["reason"]), explanation, _count({"time": time_ms}, "time", LAST_MS))

    @classmethod
    def from_headers(cls, payload: bytes | None, headers: Mapping[str, str | bytes | None]) -> Self:
        """What came back of `payload` and `headers`. Raises ValueError or KeyError where they are no dead letter's."""
        texts = {name: value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}
        facts = {name.removeprefix(HEADER): text for name, text in texts.items() if name.startswith(HEADER)}
        return cls.from_record({"payload": payload, **{name: text for name, text in facts.items() if text is not None}})

    @classmethod
    def unreadable(cls, here: Message, why: str) -> Self:
        """A letter whose headers do not say what it is: known is where it lies, and since when."""
        explanation = f"headers cannot be read: {why}; where it came from is unknown"
        bad = BadAlert(Reason.UNKNOWN, explanation)
        return cls(here, 0, bad.reason, str(bad), here.timestamp_ms or 0)

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


def _count(facts: Mapping[str, Any], name: str, most: int = 2**63 - 1) -> int:
    """A number that counts from 0. Raises ValueError, with the name, where it is none."""
    value = facts[name]
    try:
        number = int(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is {value!r:.100}, no number") from error
    if not 0 <= number <= most:
        raise ValueError(f"{name} is {value!r:.100}; from 0 to {most} are known")
    return number


@dataclass(slots=True)
class DeadLetterLimit:
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
                    f"for {reason}; look at them, fix the cause or raise limits.dead_letter_run and _ratio"
                )
