"""`estampa deadletters replay`: what was set aside goes through the pipeline again, and is reconciled."""

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
    """Dead letters as the loop's source, and the sink of what became of them.

    What was classified is published, unless an earlier redelivery did; then it is written down which letters are
    recovered. A kill in between leaves letters that go through once more. still_dead: place → reason of what failed
    again; it is not published, as the letters stay. letters: all of them, those not asked for too.
    """

    def __init__(
        self,
        source: DeadLetterSource,
        outer: FileSink | KafkaSink,
        written: RecoveryFile | RecoveryTopic,
        letters: Sequence[DeadLetterInfo],
        recoveries: Recoveries,
    ) -> None:
        self._source, self._outer, self._written, self._recoveries = source, outer, written, recoveries
        self._of_packet: defaultdict[Packet, list[DeadLetterInfo]] = defaultdict(list)
        for slip in letters:
            self._of_packet[slip.packet].append(slip)
        self._unknown: set[Packet] = set()  # something of them failed that has no letter
        self._published: defaultdict[Packet, list[int]] = defaultdict(list)
        self._unwritten: list[Recovered] = []
        self.still_dead: dict[Place, str] = {}

    def batches(self) -> Iterator[Batch]:
        return self._source.batches()

    def publish(self, results: Results) -> None:
        """Publish what was not published before, and note what failed again."""
        fresh = []
        for made in results.classifications:
            packet = made.topic, made.partition, made.offset
            if made.candid not in self._recoveries.candids(packet):
                self._published[packet].append(made.candid)
                fresh.append(made)
        self._outer.publish(replace(results, classifications=fresh, dead_letters=()))
        for letter in results.dead_letters:
            self.still_dead[letter.place] = str(letter.reason)
            packet = letter.place[:3]
            if all(letter.place != one.place for one in self._of_packet[packet]):
                self._unknown.add(packet)

    def commit(self, batch: Batch) -> None:
        """Write down what is recovered. What goes to a file is safe only when the file is whole."""
        self._source.commit(batch)
        for message in batch.messages:
            one = self._recovered((message.topic, message.partition, message.offset))
            if one.letters or one.candids:
                self._unwritten.append(one)
        if isinstance(self._outer, KafkaSink):
            self._write_down()

    def close(self) -> None:
        """Whole or stopped, a file of results is left as one file."""
        if isinstance(self._outer, FileSink):
            self._outer.finish()
        self._write_down()
        self._outer.close()
        self._written.close()

    def is_dead(self, slip: DeadLetterInfo) -> bool:
        """Whether a letter whose packet went through stays: it failed again, or something of its packet failed that
        has no letter, so that this one still stands for it.
        """
        return slip.packet in self._unknown or slip.place in self.still_dead

    def _recovered(self, packet: Packet) -> Recovered:
        slips = [one for one in self._of_packet[packet] if one.recovered_ms is None and not self.is_dead(one)]
        letters = [letter for slip in slips for letter in slip.letters]
        return Recovered(*packet, letters, self._published.pop(packet, []), time.time_ns() // 1_000_000)

    def _write_down(self) -> None:
        if self._unwritten:
            self._written.add(self._unwritten)
        self._unwritten = []


def redeliver(settings: Settings, asked: DeadLetterReader, out: Path | None) -> dict[str, Any]:
    """Put letters through the pipeline again, into the output topic or the file `out`.

    Returns the run's summary with, under `letters`, what became of each: all = recovered + still dead + without bytes +
    not tried. The letters themselves stay, and beside them is written which are recovered: those are not listed, and
    go through no second time. `estampa audit` counts an alert that was classified later as classified.
    """
    every, recoveries = asked.every(settings)
    slips = [slip for slip in every if asked.means(slip)]
    packets = {slip.packet for slip in slips}
    source = DeadLetterSource(
        asked.whole(settings, [slip for slip in every if slip.packet in packets]), settings.batch.size
    )
    log.info("letters_found", letters=len(slips), packets=len(packets), recovered_before=_recovered_before(every))
    written = RecoveryFile(asked.file) if asked.file else RecoveryTopic(settings)
    inference = load_inference(settings.model)
    with store_at_hand(settings, None) as stored:
        store = open_store(stored, inference, "replay")
        outer = _to_file(settings, out) if out else KafkaSink(settings)
        both = Redelivery(source, outer, written, every, recoveries)
        pipeline = Pipeline(
            _unbounded(stored), both, inference, store, both, Heartbeat(settings.monitor.liveness_timeout_s)
        )
        try:
            with stopping(source.stop, pipeline.stop):
                pipeline.run()
        finally:
            both.close()
            store.close()
    return pipeline.report.summary() | {"letters": _reconciled(slips, source.done, both)}


def _recovered_before(slips: Sequence[DeadLetterInfo]) -> int:
    return sum(slip.recovered_ms is not None for slip in slips)


def _to_file(settings: Settings, out: Path) -> FileSink:
    journal = ReplayJournal(out.with_name(f"{out.name}.parts"), {"dead_letters": str(out)})
    journal.begin()
    return FileSink(settings.output, journal, out, None)


def _unbounded(settings: Settings) -> Settings:
    """Here many in a row may fail again, and that is no news."""
    limits = settings.limits.model_copy(update={"dead_letter_ratio": 1.0, "dead_letter_run": 2**62})
    return settings.model_copy(update={"limits": limits})


def _reconciled(slips: Sequence[DeadLetterInfo], done: set[Packet], both: Redelivery) -> dict[str, Any]:
    fates = [(slip, _fate(slip, done, both)) for slip in slips]
    dead = Counter(both.still_dead.get(slip.place, str(slip.reason)) for slip, fate in fates if fate == "still_dead")
    counts = Counter(fate for _, fate in fates)
    counted = {name: counts[name] for name in ("recovered", "without_bytes", "not_tried")}
    return {"all": len(slips), "still_dead": dict(dead), **counted}


def _fate(slip: DeadLetterInfo, done: set[Packet], both: Redelivery) -> str:
    if slip.packet not in done:
        return "without_bytes" if slip.size is None else "not_tried"
    return "still_dead" if both.is_dead(slip) else "recovered"
