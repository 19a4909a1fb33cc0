"""The loop of estampa: decode → encode → store → classify → publish → commit, one batch at a time.

While one batch is with the models, the next one is decoded in a thread.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from consumer import metrics
from consumer.configuration.settings import Settings
from consumer.deadletters.dead_letter import DeadLetterLimit
from consumer.decode_stage import SINGLE, STOP_S, DecodedAlert, DecodedBatch, DecodeStage, DecodingStopped, Shard
from consumer.errors import ArchiveError, Reason
from consumer.message import Batch, Partition
from consumer.monitoring.batches import batch_begun, batch_done
from consumer.monitoring.health import Heartbeat
from consumer.monitoring.report import RunReport
from consumer.results import Classification, ModelInfo, Results, classification
from consumer.store.sequences import NewEntries, SequencePrefix
from model_zoo.serving.combined import combined

if TYPE_CHECKING:  # torch comes with it
    from consumer.inference.models import Inference

log = structlog.get_logger()


class MessageSource(Protocol):
    """Where messages come from: Kafka, an archive, dead letters."""

    def batches(self) -> Iterator[Batch]:
        """Yield batches until the source ends; an empty one whenever nothing came for a while."""

    def commit(self, batch: Batch) -> None:
        """Note that all of `batch` is published and stored, and need never be read again."""

    def close(self) -> None:
        """Leave the group and close what is open."""


class SequenceStore(Protocol):
    """Where each object's sequence of latents is kept: Redis."""

    def remember(self, entries: NewEntries, offsets: Mapping[Partition, int]) -> list[SequencePrefix]:
        """Add entries, in stream order, and return the sequence up to each of them, in the same order.

        The offsets are stored with the entries: the store then holds all messages before them. Raises StoreError.
        """


class ResultSink(Protocol):
    """Where results go: Kafka, files."""

    def publish(self, results: Results) -> None:
        """Return when the classifications and dead letters of a batch are safe. Raises OutputError or BrokerError."""

    def close(self) -> None:
        """Finish what is open."""


class RecentCandids:
    """The last `size` candids that were classified; the oldest are forgotten first.

    They spare readers most repeats. That a repeat changes no sequence is the store's work.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._candids: dict[int, None] = {}  # a dict keeps the order of arrival

    def __contains__(self, candid: int) -> bool:
        return candid in self._candids

    def __len__(self) -> int:
        return len(self._candids)

    def add(self, candids: Iterable[int]) -> None:
        self._candids.update(dict.fromkeys(candids))
        while len(self._candids) > self._size:
            del self._candids[next(iter(self._candids))]


class Pipeline:
    """Takes batches from a source through the models into a store and a sink.

    Data moves one way: no stage calls back. Offsets are committed last, so that a batch is read again, and gives the
    same answers, after a failure at any stage.
    """

    def __init__(
        self,
        settings: Settings,
        source: MessageSource,
        inference: "Inference",
        store: SequenceStore,
        sink: ResultSink,
        heartbeat: Heartbeat,
        shard: Shard = SINGLE,
    ) -> None:
        limits, checkpoint = settings.limits, inference.checkpoint
        self._source, self._inference, self._store, self._sink = source, inference, store, sink
        self._heartbeat, self._batch_size = heartbeat, settings.batch.size
        self._decode_stage = DecodeStage(checkpoint, limits, settings.kafka.programids, shard, heartbeat.beat)
        self._dead_letter_limit = DeadLetterLimit(limits.dead_letter_ratio, limits.dead_letter_run)
        self._model = ModelInfo.of(checkpoint)
        self._read_at: deque[float] = deque()  # monotonic seconds at which each uncommitted batch was read
        self.recent = RecentCandids(limits.duplicate_window)
        self.report = RunReport(self._model, str(inference.device))

    def run(self) -> RunReport:
        """Process batches until the source ends. Raises UnaccountedAlerts unless all that was read came out."""
        metrics.UNCOMMITTED_AGE.set_function(self._oldest_uncommitted_s)
        with ThreadPoolExecutor(1, "decode") as executor:
            try:
                for batch, decoding in self._prefetch(executor):
                    with metrics.stage("wait"):
                        decoded = decoding.result()
                    self.process(batch, decoded)
                    self._read_at.popleft()
            except DecodingStopped:
                log.warning("batch_given_up", after_s=STOP_S)
        self.report.account.check()
        return self.report

    def stop(self) -> None:
        """Give decoding `STOP_S` to finish the batch in hand. The source must have been stopped before."""
        self._decode_stage.stop()

    def decode(self, batch: Batch) -> DecodedBatch:
        """Packets → alerts with stamps. Runs in a thread of its own."""
        with metrics.stage("decode"):
            return self._decode_stage.decode(batch)

    def process(self, batch: Batch, decoded: DecodedBatch) -> None:
        """Encode, store, classify, publish and commit a batch."""
        started = time.monotonic()
        alerts = self._without_repeats(decoded.alerts)
        classifications = self._classify(alerts, batch)
        repeats = len(decoded.alerts) - len(alerts)
        results = Results(len(batch.messages), len(decoded.outcomes), repeats, classifications, decoded.dead_letters)
        with metrics.stage("publish"):
            self._sink.publish(results)
        with metrics.stage("commit"):
            self._source.commit(batch)
        self._record(results, decoded.outcomes, 1000 * (time.monotonic() - started))

    def _classify(self, alerts: Sequence[DecodedAlert], batch: Batch) -> list[Classification]:
        """Classify alerts. A batch without any still tells the store its offsets."""
        with metrics.stage("encode"):
            stamps = [decoded.stamps.pixels for decoded in alerts]
            latents, alert_probabilities = self._inference.encode(
                stamps, [decoded.alert.metadata for decoded in alerts]
            )
        with metrics.stage("remember"):
            sequences = self._store.remember(_entries(alerts, latents), batch.offsets)
        with metrics.stage("classify"):
            sequence_probabilities = self._inference.classify(sequences)
            lengths = np.array([len(sequence) for sequence in sequences], np.int64)
            probabilities = combined(alert_probabilities, sequence_probabilities, lengths)
        rows = zip(alerts, sequences, alert_probabilities, sequence_probabilities, probabilities, strict=True)
        return [classification(self._model, *row) for row in rows]

    def _prefetch(self, executor: ThreadPoolExecutor) -> Iterator[tuple[Batch, Future[DecodedBatch]]]:
        """Yield each batch with its decoding under way.

        A full batch is held until the next one's decoding has begun too, so that one is decoded while the other is
        with the models. A batch that is not full is the end of a backlog, and is yielded at once.
        """
        held: deque[tuple[Batch, Future[DecodedBatch]]] = deque()
        try:
            for batch in self._source.batches():
                if batch.messages:
                    batch_begun(batch, self._batch_size)
                    self._read_at.append(time.monotonic())
                    held.append((batch, executor.submit(self.decode, batch)))
                full = len(batch.messages) >= self._batch_size
                while len(held) > full:
                    yield held.popleft()
                self._heartbeat.beat()
                self.report.log_progress()
        except ArchiveError:  # the archive is damaged from here on: batches before it are finished first
            yield from held
            raise
        yield from held

    def _oldest_uncommitted_s(self) -> float:
        """Seconds since the oldest uncommitted batch was read. The monitor's thread calls it, while this one hangs."""
        read_at = self._read_at.copy()
        return time.monotonic() - read_at[0] if read_at else 0.0

    def _without_repeats(self, alerts: Sequence[DecodedAlert]) -> list[DecodedAlert]:
        """The first alert of each candid, unless a committed batch had it."""
        first = {decoded.alert.candid: decoded for decoded in reversed(alerts)}
        return [
            decoded
            for decoded in alerts
            if decoded is first[decoded.alert.candid] and decoded.alert.candid not in self.recent
        ]

    def _record(self, results: Results, outcomes: Sequence[Reason | None], batch_ms: float) -> None:
        """Count a committed batch. Only now are its candids repeats. Raises TooManyBadAlerts."""
        self.recent.add(made.candid for made in results.classifications)
        self.report.add(results, batch_ms)
        batch_done(results)
        self._dead_letter_limit.check(outcomes)


def _entries(alerts: Sequence[DecodedAlert], latents: NDArray[np.float32]) -> NewEntries:
    """What the store keeps of alerts and their latents (N, L) float32."""
    return NewEntries(
        keys=[decoded.alert.sequence_key for decoded in alerts],
        candid=np.array([decoded.alert.candid for decoded in alerts], np.int64),
        jd=np.array([decoded.alert.jd for decoded in alerts], np.float64),
        band=np.array([decoded.alert.fid for decoded in alerts], np.uint8),
        latents=latents,
    )
