"""`estampa replay`: archived nights through the same pipeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from consumer.archive import Archive, ArchiveSource, find_archives
from consumer.commands.parts import load_inference, open_store, stopping, store_at_hand
from consumer.errors import ConfigError
from consumer.health import Pulse
from consumer.inference import Inference
from consumer.journal import Journal
from consumer.message import Batch
from consumer.output import DiscardSink, FileSink, check_writable
from consumer.pipeline import Pipeline
from consumer.settings import Settings


@dataclass(frozen=True, slots=True)
class Replay:
    """What to replay, and where its results go."""

    paths: Sequence[Path]
    out: Path | None = None
    dead_letters: Path | None = None
    state_dir: Path | None = None
    limit: int | None = None
    resume: bool = False
    state_only: bool = False

    @property
    def journal_folder(self) -> Path | None:
        """Beside the output, or else with the state. None: nothing is kept that could be resumed."""
        target = self.out or self.dead_letters or (self.state_dir / "replay" if self.state_dir else None)
        return target.with_name(f"{target.name}.parts") if target else None

    def check(self, settings: Settings) -> None:
        """Raise, before a night is read, where the options do not go together or a path is not there."""
        check_writable(self.out, self.dead_letters)
        if self.state_only and (self.out or self.dead_letters):
            raise ConfigError("--state-only publishes nothing: leave out --out and --dead-letters")
        kept = self.state_dir or "url" in settings.store.model_fields_set
        if self.resume and not (kept and self.journal_folder):
            raise ConfigError("--resume needs the state that was kept, by --state-dir or --store, and --out")


def replay(settings: Settings, asked: Replay, console: Console) -> tuple[dict[str, Any], bool]:
    """Run it; return the summary, and whether it came to its end rather than being stopped."""
    asked.check(settings)
    archives = find_archives(asked.paths)
    inference = load_inference(settings.model)
    with store_at_hand(settings, asked.state_dir) as stored:
        store = open_store(stored, inference, "replay")
        sink = _open_sink(settings, asked, archives, inference)
        left = None if asked.limit is None else asked.limit - sink.account.read
        source = ArchiveSource(archives, settings.batch.size, sink.messages, left)
        pulse = Pulse(settings.monitor.stalled_s)
        pipeline = Pipeline(stored, Shown(source, console), inference, store, sink, pulse)
        pipeline.report.carry(sink.account.counts())
        pipeline.recent.add(sink.candids)
        try:
            with stopping(source.stop) as stopped:
                pipeline.run()
        finally:
            sink.close()
            source.close()
            store.close()
        if not stopped():
            sink.finish()
        return pipeline.report.summary(), not stopped()


def _open_sink(
    settings: Settings, asked: Replay, archives: Sequence[Archive], inference: Inference
) -> FileSink | DiscardSink:
    folder = asked.journal_folder
    if folder is None:
        return DiscardSink()
    files = [[str(archive.path), archive.path.stat().st_size] for archive in archives]
    outputs = [str(asked.out), str(asked.dead_letters), asked.state_only]
    journal = Journal(folder, {"files": files, "outputs": outputs, "model_id": inference.checkpoint.model_id})
    earlier = journal.resume() if asked.resume else journal.begin()
    return FileSink(settings.output, journal, asked.out, asked.dead_letters, earlier)


class Shown:
    """An archive source under a progress bar: how far, how fast, how long still."""

    def __init__(self, source: ArchiveSource, console: Console) -> None:
        self._source, self._console = source, console

    def batches(self) -> Iterator[Batch]:
        columns = (
            TextColumn("replay"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[messages]:,} alerts, {task.fields[rate]:,.0f}/s, left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as bar:
            task = bar.add_task("replay", total=self._source.bytes_total, messages=0, rate=0.0)
            messages = 0
            for batch in self._source.batches():
                yield batch
                messages += len(batch.messages)
                elapsed = bar.tasks[task].elapsed or 1.0
                bar.update(task, completed=self._source.bytes_read, messages=messages, rate=messages / elapsed)

    def commit(self, batch: Batch) -> None:
        self._source.commit(batch)

    def close(self) -> None:
        self._source.close()
