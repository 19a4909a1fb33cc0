"""`estampa replay`: archived nights through the same pipeline."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from consumer.archive.contents import PassedOver
from consumer.archive.journal import NAME, ReplayJournal
from consumer.archive.sink import DiscardSink, FileSink, Parts, check_writable, join
from consumer.archive.source import Archive, ArchiveSource, find_archives
from consumer.cli.jobs import in_processes
from consumer.cli.runtime import load_inference, open_store, stopping, store_at_hand
from consumer.configuration.settings import Settings
from consumer.decode_stage import SINGLE, Shard
from consumer.decoding.container import limit_blocks
from consumer.errors import ArchiveError, ConfigError, OutputError
from consumer.message import Batch
from consumer.monitoring.health import Heartbeat
from consumer.monitoring.log import configure_logging
from consumer.monitoring.report import RunReport
from consumer.pipeline import Pipeline
from consumer.terminal import console
from consumer.writable import check_folder

if TYPE_CHECKING:  # torch comes with it
    from consumer.inference.models import Inference


@dataclass(frozen=True, slots=True)
class Replay:
    """What to replay, and where its results go. jobs: processes that share it out, object by object."""

    paths: Sequence[Path]
    out: Path | None = None
    dead_letters: Path | None = None
    state_dir: Path | None = None
    limit: int | None = None
    resume: bool = False
    state_only: bool = False
    jobs: int = 1

    @property
    def journal_folder(self) -> Path | None:
        """Beside the output, or else with the state. None: nothing is kept that could be resumed."""
        target = self.out or self.dead_letters or (self.state_dir / "replay" if self.state_dir else None)
        return target.with_name(f"{target.name}.parts") if target else None

    def check(self, settings: Settings) -> None:
        """Raise ConfigError, before a night is read, where the options do not go together."""
        if self.state_only and (self.out or self.dead_letters):
            raise ConfigError("--state-only publishes nothing: leave out --out and --dead-letters")
        if self.jobs > 1 and self.limit is not None:
            raise ConfigError("--limit counts the alerts of one process: leave out --jobs")
        kept = self.state_dir or "url" in settings.store.model_fields_set
        if self.resume and not (kept and self.journal_folder):
            raise ConfigError("--resume needs the state that was kept, by --state-dir or --store, and --out")

    def check_outputs(self, inputs: Iterable[Path | None], summary: Path | None, *, overwrite: bool) -> None:
        """Raise OutputError, before a night is read, where a path cannot be written.

        Files that exist are replaced by --overwrite, or by the replay that left them and is resumed.
        """
        folder = self.journal_folder
        resumed = self.resume and folder is not None and any(folder.rglob(NAME))
        check_writable(self.out, self.dead_letters, summary, inputs, overwrite=overwrite or resumed)
        for option, kept in {"--state-dir": self.state_dir, "the folder of parts": folder}.items():
            if kept:
                check_folder(option, kept)


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What became of a share. parts: of its outputs, None where there are none. ended: rather than stopped.

    damage: what of the archives could not be read, in words; the rest of them was.
    """

    report: RunReport
    parts: Parts | None
    ended: bool
    damage: str | None = None


def replay(settings: Settings, asked: Replay, shown: Console) -> tuple[dict[str, Any], bool]:
    """Run it; return the summary, and whether it came to its end rather than being stopped.

    What could be read of an archive that is damaged has its results, and the summary says so under `damage`.
    """
    find_archives(asked.paths)
    with store_at_hand(settings, asked.state_dir) as stored:
        if asked.jobs == 1:
            outcomes = [replay_share(stored, asked, SINGLE, shown)]
        else:
            outcomes = in_processes(partial(_job, stored, asked), asked.jobs)
    ended = all(outcome.ended for outcome in outcomes)
    parts = [outcome.parts for outcome in outcomes if outcome.parts]
    if ended and parts and asked.journal_folder:
        join(asked.journal_folder, parts, asked.out, asked.dead_letters)
    report = outcomes[0].report
    for other in outcomes[1:]:
        report.join(other.report)
    damage = next((outcome.damage for outcome in outcomes if outcome.damage), None)
    return report.summary() | ({"damage": damage} if damage else {}), ended


def _job(settings: Settings, asked: Replay, share: Shard) -> ShardResult:
    """A share in a process of its own. Only the first shows its progress: all are about as far."""
    configure_logging(settings.log)
    limit_blocks(settings.limits.block_bytes)
    threads = settings.model.threads or max((os.cpu_count() or 1) // share.count, 1)
    model = settings.model.model_copy(update={"threads": threads})
    shown = console(stderr=True, quiet=share.index > 0)
    return replay_share(settings.model_copy(update={"model": model}), asked, share, shown)


def replay_share(settings: Settings, asked: Replay, share: Shard, shown: Console) -> ShardResult:
    """Replay one share, in this process."""
    passed_over = PassedOver()
    archives = find_archives(asked.paths, passed_over)
    inference = load_inference(settings.model)
    store = open_store(settings, inference, f"replay-{share.index}")
    sink = _open_sink(settings, asked, archives, inference, share)
    left = None if asked.limit is None else asked.limit - sink.account.read
    size, limit = settings.batch.size * share.count, settings.limits.packet_bytes
    source = ArchiveSource(archives, size, sink.messages, left, passed_over, limit)
    heartbeat = Heartbeat(settings.monitor.liveness_timeout_s)
    pipeline = Pipeline(settings, Shown(source, shown), inference, store, sink, heartbeat, share)
    pipeline.report.carry(sink.account.counts())
    pipeline.recent.add(sink.candids)
    damage = None
    try:
        with stopping(source.stop, pipeline.stop) as stopped:
            pipeline.run()
    except ArchiveError as error:
        damage = str(error)
        pipeline.report.account.check()
    finally:
        sink.close()
        source.close()
        store.close()
    return ShardResult(pipeline.report, sink.parts, not stopped(), damage)


def _open_sink(
    settings: Settings, asked: Replay, archives: Sequence[Archive], inference: "Inference", share: Shard
) -> FileSink | DiscardSink:
    folder = asked.journal_folder
    if folder is None:
        return DiscardSink()
    files = [[str(archive.path), archive.path.stat().st_size] for archive in archives]
    outputs = [str(asked.out), str(asked.dead_letters), asked.state_only]
    subject = {"files": files, "outputs": outputs, "model_id": inference.checkpoint.model_id}
    journal = ReplayJournal(_own_folder(folder, share), subject)
    earlier = journal.resume() if asked.resume else journal.begin()
    return FileSink(settings.output, journal, asked.out, asked.dead_letters, earlier)


def _own_folder(folder: Path, share: Shard) -> Path:
    """Where a share keeps its parts. Raises OutputError beside those of a replay that was shared out otherwise."""
    held = {path.name.rpartition("-of-")[2] for path in folder.glob("*-of-*")} | {"1" for _ in folder.glob(NAME)}
    if others := held - {str(share.count)}:
        raise OutputError(
            f"{folder} holds an unfinished replay of --jobs {min(others)}: go on with as many, or delete it"
        )
    return folder if share.count == 1 else folder / f"{share.index}-of-{share.count}"


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
