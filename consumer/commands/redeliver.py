"""`estampa deadletters replay`: what was set aside goes through the pipeline again, and is reconciled."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from consumer.commands.parts import load_inference, open_store, stopping, store_at_hand
from consumer.health import Pulse
from consumer.journal import Journal
from consumer.letters import Letters, LettersSource, Slip
from consumer.output import FileSink, check_writable
from consumer.pipeline import Pipeline
from consumer.publish import KafkaSink
from consumer.results import Results
from consumer.settings import Settings

log = structlog.get_logger()

Place = tuple[str, int, int, int]


@dataclass(slots=True)
class Mended:
    """A sink that passes on what was classified, and notes where what failed again stood."""

    outer: FileSink | KafkaSink
    still_dead: dict[Place, str] = field(default_factory=dict)

    def publish(self, results: Results) -> None:
        """Letters that fail again are not published: they are in the topic already."""
        self.outer.publish(replace(results, dead_letters=()))
        self.still_dead |= {letter.place: str(letter.reason) for letter in results.dead_letters}

    def close(self) -> None:
        """Whole or stopped, a file of results is left as one file."""
        if isinstance(self.outer, FileSink):
            self.outer.finish()
        self.outer.close()


def redeliver(settings: Settings, asked: Letters, out: Path | None) -> dict[str, Any]:
    """Put letters through the pipeline again, into the output topic or the file `out`.

    Returns the run's summary with, under `letters`, what became of each: all = mended + still dead + without bytes +
    not tried. The letters themselves stay: `estampa audit` counts an alert that was classified later as classified.
    """
    check_writable(out, None)
    slips = asked.slips(settings)
    source = LettersSource(asked.whole(settings, slips), settings.batch.size)
    packets = {slip.place[:3] for slip in slips if slip.size is not None}
    log.info("letters_found", letters=len(slips), packets=len(packets))
    inference = load_inference(settings.model)
    with store_at_hand(settings, None) as stored:
        store = open_store(stored, inference, "replay")
        sink = Mended(_to_file(settings, out) if out else KafkaSink(settings))
        pipeline = Pipeline(_unbounded(stored), source, inference, store, sink, Pulse(settings.monitor.stalled_s))
        try:
            with stopping(source.stop, pipeline.stop):
                pipeline.run()
        finally:
            sink.close()
            store.close()
    return pipeline.report.summary() | {"letters": _reconciled(slips, source.done, sink.still_dead)}


def _to_file(settings: Settings, out: Path) -> FileSink:
    journal = Journal(out.with_name(f"{out.name}.parts"), {"dead_letters": str(out)})
    journal.begin()
    return FileSink(settings.output, journal, out, None)


def _unbounded(settings: Settings) -> Settings:
    """Here many in a row may fail again, and that is no news."""
    limits = settings.limits.model_copy(update={"dead_letter_ratio": 1.0, "dead_letter_run": 2**62})
    return settings.model_copy(update={"limits": limits})


def _reconciled(
    slips: Sequence[Slip], done: Collection[tuple[str, int, int]], still_dead: Mapping[Place, str]
) -> dict[str, Any]:
    fates = [_fate(slip, done, still_dead) for slip in slips]
    reasons = Counter(still_dead[slip.place] for slip in slips if slip.place in still_dead)
    counted = {name: fates.count(name) for name in ("mended", "without_bytes", "not_tried")}
    return {"all": len(slips), "still_dead": dict(reasons), **counted}


def _fate(slip: Slip, done: Collection[tuple[str, int, int]], still_dead: Mapping[Place, str]) -> str:
    if slip.place[:3] not in done:
        return "without_bytes" if slip.size is None else "not_tried"
    return "still_dead" if slip.place in still_dead else "mended"
