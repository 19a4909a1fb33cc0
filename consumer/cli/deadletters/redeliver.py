"""`estampa deadletters replay`: dead letters go through the pipeline again, and are reconciled."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from consumer.archive.journal import ReplayJournal
from consumer.archive.sink import FileSink
from consumer.cli.deadletters.reader import DeadLetterInfo, DeadLetterReader, DeadLetterSource
from consumer.cli.deadletters.recovery_log import RecoveryFile, RecoveryTopic
from consumer.cli.runtime import load_inference, open_store, stopping, store_at_hand
from consumer.configuration.settings import Settings
from consumer.deadletters.recovered import Packet, Recovered, Recoveries
from consumer.kafka.sink import KafkaSink
from consumer.message import Batch
from consumer.monitoring.health import Heartbeat
from consumer.pipeline import Pipeline
from consumer.results import Results

log = structlog.get_logger()

Place = tuple[str, int, int, int]


class Redelivery:
    """Source and sink of a pipeline whose messages are dead letters.

    An alert that is classified is published, unless an earlier redelivery did; then it is recorded which dead letters
    are recovered. After a kill in between, these are redelivered once more. still_dead: place → reason of what failed
    again; it is not published, as its dead letter stays. infos: of all dead letters, selected or not.
    """

    def __init__(
        self,
        source: DeadLetterSource,
        sink: FileSink | KafkaSink,
        record: RecoveryFile | RecoveryTopic,
        infos: Sequence[DeadLetterInfo],
        recoveries: Recoveries,
    ) -> None:
        self._source, self._sink, self._record, self._recoveries = source, sink, record, recoveries
        self._of_packet: defaultdict[Packet, list[DeadLetterInfo]] = defaultdict(list)
        for info in infos:
            self._of_packet[info.packet].append(info)
        self._unknown: set[Packet] = set()  # packets of which an alert failed that has no dead letter
        self._published: defaultdict[Packet, list[int]] = defaultdict(list)
        self._unrecorded: list[Recovered] = []
        self.still_dead: dict[Place, str] = {}

    def batches(self) -> Iterator[Batch]:
        return self._source.batches()

    def publish(self, results: Results) -> None:
        """Publish what was not published before, and note what failed again."""
        new = []
        for made in results.classifications:
            packet = made.topic, made.partition, made.offset
            if made.candid not in self._recoveries.candids(packet):
                self._published[packet].append(made.candid)
                new.append(made)
        self._sink.publish(replace(results, classifications=new, dead_letters=()))
        for letter in results.dead_letters:
            self.still_dead[letter.place] = str(letter.reason)
            packet = letter.place[:3]
            if all(letter.place != info.place for info in self._of_packet[packet]):
                self._unknown.add(packet)

    def commit(self, batch: Batch) -> None:
        """Record what is recovered; results in a file count only when the file is complete."""
        self._source.commit(batch)
        for message in batch.messages:
            one = self._recovered((message.topic, message.partition, message.offset))
            if one.letters or one.candids:
                self._unrecorded.append(one)
        if isinstance(self._sink, KafkaSink):
            self._record_recovered()

    def close(self) -> None:
        """Complete the file of results, after a stop too, and record what is recovered."""
        if isinstance(self._sink, FileSink):
            self._sink.finish()
        self._record_recovered()
        self._sink.close()
        self._record.close()

    def is_dead(self, info: DeadLetterInfo) -> bool:
        """Whether a dead letter stays though its packet was processed: its alert failed again, or another of the packet
        failed that has no dead letter of its own.
        """
        return info.packet in self._unknown or info.place in self.still_dead

    def _recovered(self, packet: Packet) -> Recovered:
        infos = [info for info in self._of_packet[packet] if info.recovered_ms is None and not self.is_dead(info)]
        letters = [letter for info in infos for letter in info.letters]
        return Recovered(*packet, letters, self._published.pop(packet, []), time.time_ns() // 1_000_000)

    def _record_recovered(self) -> None:
        if self._unrecorded:
            self._record.add(self._unrecorded)
        self._unrecorded = []


def redeliver(settings: Settings, reader: DeadLetterReader, out: Path | None) -> dict[str, Any]:
    """Put dead letters through the pipeline again, into the output topic or the file `out`.

    Returns the run's summary with, under `letters`, what became of each: all = recovered + still dead + without bytes +
    not tried. The dead letters stay, and beside them it is recorded which are recovered: those are neither listed nor
    redelivered again. `estampa audit` counts an alert that was classified later as classified.
    """
    infos, recoveries = reader.all_infos(settings)
    selected = [info for info in infos if reader.selects(info)]
    packets = {info.packet for info in selected}
    source = DeadLetterSource(
        reader.letters(settings, [info for info in infos if info.packet in packets]), settings.batch.size
    )
    log.info("letters_found", letters=len(selected), packets=len(packets), recovered_before=_recovered_before(infos))
    record = RecoveryFile(reader.file) if reader.file else RecoveryTopic(settings)
    inference = load_inference(settings.model)
    with store_at_hand(settings, None) as stored:
        store = open_store(stored, inference, "replay")
        sink = _to_file(settings, out) if out else KafkaSink(settings)
        redelivery = Redelivery(source, sink, record, infos, recoveries)
        heartbeat = Heartbeat(settings.monitor.liveness_timeout_s)
        pipeline = Pipeline(_unbounded(stored), redelivery, inference, store, redelivery, heartbeat)
        try:
            with stopping(source.stop, pipeline.stop):
                pipeline.run()
        finally:
            redelivery.close()
            store.close()
    return pipeline.report.summary() | {"letters": _reconciled(selected, source.done, redelivery)}


def _recovered_before(infos: Sequence[DeadLetterInfo]) -> int:
    return sum(info.recovered_ms is not None for info in infos)


def _to_file(settings: Settings, out: Path) -> FileSink:
    journal = ReplayJournal(out.with_name(f"{out.name}.parts"), {"dead_letters": str(out)})
    journal.begin()
    return FileSink(settings.output, journal, out, None)


def _unbounded(settings: Settings) -> Settings:
    """Without the limit on dead letters: here many in a row may fail again."""
    limits = settings.limits.model_copy(update={"dead_letter_ratio": 1.0, "dead_letter_run": 2**62})
    return settings.model_copy(update={"limits": limits})


def _reconciled(infos: Sequence[DeadLetterInfo], done: set[Packet], redelivery: Redelivery) -> dict[str, Any]:
    outcomes = [(info, _outcome(info, done, redelivery)) for info in infos]
    dead = Counter(
        redelivery.still_dead.get(info.place, str(info.reason)) for info, outcome in outcomes if outcome == "still_dead"
    )
    counts = Counter(outcome for _, outcome in outcomes)
    counted = {name: counts[name] for name in ("recovered", "without_bytes", "not_tried")}
    return {"all": len(infos), "still_dead": dict(dead), **counted}


def _outcome(info: DeadLetterInfo, done: set[Packet], redelivery: Redelivery) -> str:
    if info.packet not in done:
        return "without_bytes" if info.size is None else "not_tried"
    return "still_dead" if redelivery.is_dead(info) else "recovered"
