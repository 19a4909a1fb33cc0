"""The first stage of the pipeline, on the CPU: messages → alerts with their stamps, or dead letters."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from zlib import crc32

from consumer.configuration.settings import LimitSettings
from consumer.deadletters.dead_letter import DeadLetter
from consumer.decoding.alert import Alert, decoder_failed, read_alerts
from consumer.decoding.packet import PacketReader
from consumer.decoding.stamps import Stamps, cut_stamps
from consumer.errors import BadAlert, Reason
from consumer.message import Batch, Message

if TYPE_CHECKING:  # torch comes with it
    from model_zoo.checkpoint import Checkpoint

STOP_S: Final = 4.0
"""Seconds that decoding may go on after `stop`, so that the process ends within ten seconds."""


class DecodingStopped(Exception):  # noqa: N818 - it is no error
    """Decoding of a batch was given up because the process stops; the batch will be read again."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The objects that one of `count` processes classifies: `index`, from 0.

    Each process reads every packet of an archive and goes on with its own. An object's alerts stay together and in
    stream order, so that the number of processes changes no sequence. A packet that cannot be read has no object: it
    goes by its offset.
    """

    index: int = 0
    count: int = 1

    def has(self, message: Message, outcome: Alert | BadAlert) -> bool:
        """Whether this process is to go on with a record of a message."""
        if self.count == 1:
            return True
        number = message.offset if isinstance(outcome, BadAlert) else crc32(outcome.sequence_key.encode())
        return number % self.count == self.index


SINGLE = Shard()


@dataclass(frozen=True, slots=True)
class DecodedAlert:
    """A good alert, its stamps, and the message it came in."""

    message: Message
    alert: Alert
    stamps: Stamps


@dataclass(slots=True)
class DecodedBatch:
    """A batch after decoding. outcomes: in stream order, None for a good alert, else why it is a dead letter."""

    outcomes: list[Reason | None] = field(default_factory=list)
    alerts: list[DecodedAlert] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


class DecodeStage:
    """Decodes batches for one checkpoint. It runs in a thread beside the models and touches nothing but its batch.

    Args:
        checkpoint: says which metadata and which part of the stamps the models read.
        limits: of one packet.
        programids: of alerts that are classified; others are dead letters.
        shard: the objects of this process.
        on_message: called after each message.
    """

    def __init__(
        self,
        checkpoint: "Checkpoint",
        limits: LimitSettings,
        programids: Sequence[int],
        shard: Shard = SINGLE,
        on_message: Callable[[], None] = lambda: None,
    ) -> None:
        self._preprocessing, self._limits, self._shard = checkpoint.preprocessing, limits, shard
        self._programids = frozenset(programids)
        self._reader = PacketReader(checkpoint.mlp.config.fields, limits.packet_records)
        self._on_message = on_message
        self._stop_at = math.inf

    def stop(self) -> None:
        """Give up what is not decoded within `STOP_S`. Called from a signal handler."""
        self._stop_at = time.monotonic() + STOP_S

    def decode(self, batch: Batch) -> DecodedBatch:
        """Decode all messages of a batch. Raises DecodingStopped."""
        decoded = DecodedBatch()
        for message in batch.messages:
            self._decode_message(message, decoded)
            self._on_message()
        return decoded

    def _decode_message(self, message: Message, decoded: DecodedBatch) -> None:
        """Half of `dead_letter_run` bad records end a message: no message alone stops a run."""
        most, bad = max(self._limits.dead_letter_run // 2, 1), 0
        for index, outcome in enumerate(read_alerts(message.payload, self._limits.packet_bytes, self._reader)):
            if time.monotonic() > self._stop_at:
                raise DecodingStopped
            if not self._shard.has(message, outcome):
                continue
            result = self._with_stamps(message, outcome)
            if isinstance(result, DecodedAlert):
                decoded.alerts.append(result)
                decoded.outcomes.append(None)
                continue
            bad += result.reason is not Reason.PRIVATE
            if bad > most:
                result = _too_many(most)
            self._add_dead_letter(DeadLetter.of(message, index, result), bad, decoded)
            if bad > most:
                return

    def _with_stamps(self, message: Message, outcome: Alert | BadAlert) -> DecodedAlert | BadAlert:
        """The record with its stamps, or why it is a dead letter."""
        try:
            alert = self._check_program(outcome)
            stamps = cut_stamps(alert, self._preprocessing, self._limits.stamp_bytes)
        except BadAlert as bad:
            return bad
        except Exception as error:  # noqa: BLE001 - a fault of the decoder ends one alert and no run
            return decoder_failed(error)
        return DecodedAlert(message, alert, stamps)

    def _check_program(self, outcome: Alert | BadAlert) -> Alert:
        if outcome.programid is not None and outcome.programid not in self._programids:
            alert = "the alert" if isinstance(outcome, BadAlert) else f"candid {outcome.candid}"
            program = f"{alert} has programid {outcome.programid}"
            raise BadAlert(Reason.PRIVATE, f"{program}; kafka.programids admits {sorted(self._programids)}")
        if isinstance(outcome, BadAlert):
            raise outcome
        return outcome

    def _add_dead_letter(self, letter: DeadLetter, bad: int, decoded: DecodedBatch) -> None:
        """Add a dead letter. bad: how many of its message there are, with this one.

        Dead letters of one message each hold its bytes, until they come to as many bytes as one message may have.
        """
        if bad > 1 and bad * len(letter.message.payload or b"") > self._limits.packet_bytes:
            letter = letter.without_payload("it is with this message's first dead letter")
        decoded.dead_letters.append(letter)
        decoded.outcomes.append(letter.reason)


def _too_many(most: int) -> BadAlert:
    why = f"more than {most} alerts of this message are bad: what follows in it was not read"
    return BadAlert(Reason.MANY_BAD_RECORDS, f"{why}; fix the cause or raise limits.dead_letter_run, and replay it")
