"""THE loop. Decode, stamps, encode, remember, classify, publish, commit: one batch at a time, the next one decoding."""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

from consumer import metrics
from consumer.archive.sharding import SINGLE, Shard
from consumer.classification import Classification, ModelInfo, classification
from consumer.configuration.settings import Settings
from consumer.deadletters.dead_letter import DeadLetter, DeadLetterLimit
from consumer.decoding.alert import Alert, read_alerts, unforeseen
from consumer.decoding.packet import PacketReader
from consumer.decoding.stamps import Stamps, cut_stamps
from consumer.duplicates import RecentCandids
from consumer.errors import ArchiveError, BadAlert, Reason
from consumer.message import Batch, Message
from consumer.monitoring.batches import batch_begun, batch_done
from consumer.monitoring.health import Heartbeat
from consumer.monitoring.report import RunReport
from consumer.protocols import MessageSource, ResultSink, SequenceStore
from consumer.results import Results
from consumer.store.sequences import NewEntries

if TYPE_CHECKING:  # torch comes with it
    from consumer.inference.models import Inference

log = structlog.get_logger()


STOP_S: Final = 4.0
"""How long after `stop` decoding may go on, so that the process ends within ten seconds."""


class Stopped(Exception):  # noqa: N818 - says what happened
    """A batch was given up while it was decoded; it will be read again."""


@dataclass(frozen=True, slots=True)
class DecodedAlert:
    """One good alert on its way, with the message it came in."""

    message: Message
    alert: Alert
    stamps: Stamps


@dataclass(slots=True)
class DecodedBatch:
    """A batch after the CPU stages. outcomes: why each record read is no good, None where it is, in stream order."""

    outcomes: list[Reason | None] = field(default_factory=list)
    items: list[DecodedAlert] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


class Pipeline:
    """Takes a source through the models into a store and a sink. Data moves one way; no stage calls back."""

    def __init__(
        self,
        settings: Settings,
        source: MessageSource,
        inference: "Inference",
        store: SequenceStore,
        sink: ResultSink,
        heartbeat: Heartbeat,
        share: Shard = SINGLE,
    ) -> None:
        self._share = share
        self._source, self._inference, self._store, self._sink, self._heartbeat = (
            source,
            inference,
            store,
            sink,
            heartbeat,
        )
        self._batch_size, self._limits = settings.batch.size, settings.limits
        self._admitted = frozenset(settings.kafka.programids)
        self._dead_letter_limit = DeadLetterLimit(self._limits.dead_letter_ratio, self._limits.dead_letter_run)
        self._judge = ModelInfo.of(inference.checkpoint)
        self._reader = PacketReader(inference.checkpoint.mlp.config.fields, self._limits.packet_records)
        self._stop_at = math.inf
        self._begun: deque[float] = deque()  # when each batch in hand was read, oldest first, monotonic seconds
        self.recent = RecentCandids(self._limits.recent_candids)
        self.report = RunReport(self._judge, str(inference.device))

    def run(self) -> RunReport:
        """Process batches until the source ends. Raises AccountError unless all that was read came out."""
        metrics.UNCOMMITTED_AGE.set_function(self._longest_in_hand_s)
        with ThreadPoolExecutor(1, "decode") as decoding:
            try:
                for batch, decoded in self._prefetch(decoding):
                    with metrics.stage("wait"):
                        ready = decoded.result()
                    self.process(batch, ready)
                    self._begun.popleft()
            except Stopped:
                log.warning("batch_given_up", after_s=STOP_S)
        self.report.account.check()
        return self.report

    def stop(self) -> None:
        """Give decoding `STOP_S` to finish the batch in hand. The source is stopped by itself, and before."""
        self._stop_at = time.monotonic() + STOP_S

    def _prefetch(self, decoding: ThreadPoolExecutor) -> Iterator[tuple[Batch, Future[DecodedBatch]]]:
        """Each batch with its decoding begun. A full one is held until the next one's has begun too, so that one is
        decoded while the other is with the models; one that is not full is the end of what waits, and goes at once.
        """
        held: deque[tuple[Batch, Future[DecodedBatch]]] = deque()
        try:
            for batch in self._source.batches():
                if batch.messages:
                    batch_begun(batch, self._batch_size)
                    self._begun.append(time.monotonic())
                    held.append((batch, decoding.submit(self.decode, batch)))
                full = len(batch.messages) >= self._batch_size
                while len(held) > full:
                    yield held.popleft()
                self._heartbeat.beat()
                self.report.log_progress()
        except ArchiveError:  # an archive that ends early: what is in hand is finished before it is told
            yield from held
            raise
        yield from held

    def _longest_in_hand_s(self) -> float:
        """Asked from the monitor's thread, and most of all while this one hangs."""
        begun = self._begun.copy()
        return time.monotonic() - begun[0] if begun else 0.0

    def process(self, batch: Batch, decoded: DecodedBatch) -> None:
        """Take a batch the rest of the way: when this returns it is remembered, published and committed."""
        started = time.monotonic()
        fresh = self._without_repeats(decoded.items)
        done = self._judged(fresh, batch)
        repeats = len(decoded.items) - len(fresh)
        results = Results(len(batch.messages), len(decoded.outcomes), repeats, done, decoded.dead_letters)
        with metrics.stage("publish"):
            self._sink.publish(results)
        with metrics.stage("commit"):
            self._source.commit(batch)
        self._record(results, decoded.outcomes, 1000 * (time.monotonic() - started))

    def decode(self, batch: Batch) -> DecodedBatch:
        """Packets to stamps. Runs beside the models, and touches nothing but its batch."""
        decoded = DecodedBatch()
        with metrics.stage("decode"):
            for message in batch.messages:
                self._open(decoded, message)
                self._heartbeat.beat()
        return decoded

    def _open(self, decoded: DecodedBatch, message: Message) -> None:
        """One message's records. Half of `dead_letter_run` bad ones end it: one message alone stops no run."""
        most, bad = max(self._limits.dead_letter_run // 2, 1), 0
        for record, outcome in enumerate(read_alerts(message.payload, self._limits.packet_bytes, self._reader)):
            if time.monotonic() > self._stop_at:
                raise Stopped
            if not self._share.has(message, outcome):
                continue
            found = self._sorted(message, outcome)
            if isinstance(found, BadAlert) and found.reason is not Reason.PRIVATE:
                bad += 1
            if bad > most:
                why = f"more than {most} alerts of this message are bad: what follows in it was not read"
                mend = "mend the cause or raise limits.dead_letter_run, and replay it"
                self._put(decoded, message, record, BadAlert(Reason.MANY_BAD_RECORDS, f"{why}; {mend}"), bad)
                return
            self._put(decoded, message, record, found, bad)

    def _sorted(self, message: Message, outcome: Alert | BadAlert) -> DecodedAlert | BadAlert:
        """What one record is good for."""
        try:
            alert = self._check_program(outcome)
            stamps = cut_stamps(alert, self._inference.checkpoint.preprocessing, self._limits.stamp_bytes)
        except BadAlert as bad:
            return bad
        except Exception as error:  # noqa: BLE001 - as for the packet itself: the next one is read
            return unforeseen(error)
        return DecodedAlert(message, alert, stamps)

    def _put(
        self, decoded: DecodedBatch, message: Message, record: int, found: DecodedAlert | BadAlert, bad: int
    ) -> None:
        """Put the outcome of one record where it belongs. bad: how many of this message are, with this one.

        Letters of one message hold its bytes again and again, until they come to as much as one message may have.
        """
        if isinstance(found, DecodedAlert):
            decoded.items.append(found)
            decoded.outcomes.append(None)
            return
        letter = DeadLetter.of(message, record, found)
        if bad > 1 and bad * len(message.payload or b"") > self._limits.packet_bytes:
            letter = letter.without_payload("it is with this message's first dead letter")
        decoded.dead_letters.append(letter)
        decoded.outcomes.append(found.reason)

    def _check_program(self, outcome: Alert | BadAlert) -> Alert:
        if outcome.programid is not None and outcome.programid not in self._admitted:
            who = "it" if isinstance(outcome, BadAlert) else f"candid {outcome.candid}"
            program = f"{who} is of programid {outcome.programid}"
            raise BadAlert(Reason.PRIVATE, f"{program}; kafka.programids admits {sorted(self._admitted)}")
        if isinstance(outcome, BadAlert):
            raise outcome
        return outcome

    def _without_repeats(self, items: Sequence[DecodedAlert]) -> list[DecodedAlert]:
        """The first of each candid, unless a committed batch had it."""
        first = {item.alert.candid: item for item in reversed(items)}
        return [item for item in items if item is first[item.alert.candid] and item.alert.candid not in self.recent]

    def _judged(self, items: Sequence[DecodedAlert], batch: Batch) -> list[Classification]:
        """Encode, remember and classify. A batch without a good alert still tells the store how far it got."""
        with metrics.stage("encode"):
            metadata = [item.alert.metadata for item in items]
            latents, alone = self._inference.encode([item.stamps.pixels for item in items], metadata)
        alerts = [item.alert for item in items]
        entries = NewEntries(
            keys=[alert.sequence_key for alert in alerts],
            candid=np.array([alert.candid for alert in alerts], np.int64),
            jd=np.array([alert.jd for alert in alerts], np.float64),
            band=np.array([alert.fid for alert in alerts], np.uint8),
            latents=latents,
        )
        with metrics.stage("remember"):
            histories = self._store.remember(entries, batch.offsets)
        with metrics.stage("classify"):
            sequence = self._inference.classify(histories)
        return [
            classification(self._judge, item.message, item.alert, item.stamps, *judged)
            for item, *judged in zip(items, histories, alone, sequence, strict=True)
        ]

    def _record(self, results: Results, outcomes: Sequence[Reason | None], batch_ms: float) -> None:
        """A committed batch enters the account; only now are its candids repeats, and its failures too many."""
        self.recent.add(made.candid for made in results.classifications)
        self.report.add(results, batch_ms)
        batch_done(results)
        self._dead_letter_limit.check(outcomes)
