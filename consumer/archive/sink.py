"""A replay's results in files: they grow in finished parts beside a journal, and are joined at the end.

Beside `--out NAME` stands `NAME.parts/` while the replay runs: `000000.parquet`, `000000.dead.avro`, … and the journal.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from consumer.archive.formats import DEAD_LETTERS, FORMATS, Format, Record
from consumer.archive.journal import NAME, JournalEntry, ReplayJournal, candids_of
from consumer.configuration.settings import OutputSettings
from consumer.deadletters.recovered import recovered_beside
from consumer.errors import OutputError
from consumer.monitoring.report import Counts
from consumer.results import Results
from consumer.writable import check_files


class FileSink:
    """Collects results into finished parts; `finish` joins them under their final names.

    out, dead_letters: final paths, None for what is not wanted. earlier: the journal's lines, of a resumed replay.
    messages, account: how far the results go. candids: those that were classified before a resumption.
    What a part and its line in the journal hold is safe from a kill. Raises OutputError where a file cannot be written.
    """

    def __init__(
        self,
        settings: OutputSettings,
        journal: ReplayJournal,
        out: Path | None,
        dead_letters: Path | None,
        earlier: Sequence[JournalEntry] = (),
    ) -> None:
        self._settings, self._journal, self._out, self._dead_letters = settings, journal, out, dead_letters
        self._parts = earlier[-1].parts if earlier else 0
        self.messages = earlier[-1].messages if earlier else 0
        self.account = Counts.of(earlier[-1].counts) if earlier else Counts()
        self.candids = candids_of(earlier)
        self._pending: list[Results] = []
        self._part_begun = time.monotonic()

    def publish(self, results: Results) -> None:
        """Keep a batch's results; they are safe when their part is finished."""
        self._pending.append(results)
        self.messages += results.messages
        self.account.add(results)
        waiting = sum(one.messages for one in self._pending)
        age = time.monotonic() - self._part_begun
        if waiting >= self._settings.checkpoint_messages or age >= self._settings.checkpoint_s:
            self._finish_part()

    def close(self) -> None:
        """Finish the part in hand; the replay can be resumed from here."""
        if self._pending:
            self._finish_part()

    def finish(self) -> None:
        """Join the parts under the final names, and drop them with the journal."""
        self.close()
        join(self._journal.folder, [self.parts], self._out, self._dead_letters)

    @property
    def parts(self) -> "Parts":
        return Parts(self._journal.folder, self._parts)

    def _finish_part(self) -> None:
        for suffix, form, records in self._waiting():
            part = self.parts.path(self._parts, suffix)
            with _writing(part):
                form.write(part, records)
                _sync(part)
        self._parts += 1
        candids = [made.candid for results in self._pending for made in results.classifications]
        with _writing(self._journal.folder):
            self._journal.add(JournalEntry(self._parts, self.messages, self.account.counts(), candids))
        self._pending, self._part_begun = [], time.monotonic()

    def _waiting(self) -> Iterator[tuple[str, Format, list[Record]]]:
        """Of each file wanted: the suffix of its parts, its format, the records that wait for it."""
        made = [one.record() for results in self._pending for one in results.classifications]
        dead = [one.record() for results in self._pending for one in results.dead_letters]
        for path, suffix, form in _wanted(self._out, self._dead_letters):
            yield suffix, form, made if path == self._out else dead


@dataclass(frozen=True, slots=True)
class Parts:
    """The finished parts in a folder: `count` of each kind."""

    folder: Path
    count: int

    def path(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:06d}{suffix}"


def join(folder: Path, finished: Sequence[Parts], out: Path | None, dead_letters: Path | None) -> None:
    """Make one file under each final name, of all parts in order, and drop `folder`, which holds them."""
    for path, suffix, form in _wanted(out, dead_letters):
        scratch = folder / f"joined{suffix}"
        with _writing(path):
            form.join(scratch, [parts.path(number, suffix) for parts in finished for number in range(parts.count)])
            recovered_beside(path).unlink(missing_ok=True)  # it records recovered letters of the file that is replaced
            scratch.replace(path)
    for journal in folder.rglob(NAME):  # first, or a kill would leave a replay to resume without its parts
        journal.unlink()
    shutil.rmtree(folder)


def _wanted(out: Path | None, dead_letters: Path | None) -> Iterator[tuple[Path, str, Format]]:
    """Of each file wanted: its final path, the suffix of its parts, its format."""
    if out:
        yield out, out.suffix, FORMATS[out.suffix]
    if dead_letters:
        yield dead_letters, ".dead.avro", DEAD_LETTERS


class DiscardSink:
    """Keeps nothing: for runs that only count. It has nothing to go on from."""

    messages = 0
    account = Counts()
    candids: Sequence[int] = ()
    parts = None

    def publish(self, results: Results) -> None:
        """Drop a batch's results."""

    def close(self) -> None:
        """There is nothing to flush."""

    def finish(self) -> None:
        """There is nothing to join."""


def check_writable(
    out: Path | None,
    dead_letters: Path | None,
    summary: Path | None = None,
    inputs: Iterable[Path | None] = (),
    *,
    overwrite: bool = False,
) -> None:
    """Raise OutputError, before a night is read, for a format that is not known or a file that cannot be made.

    inputs: files and folders that are read. overwrite: files that exist may be replaced.
    """
    if out and out.suffix not in FORMATS:
        raise OutputError(f"{out} has no known format; end it in {', '.join(FORMATS)}")
    files = {"--out": out, "--dead-letters": dead_letters}
    check_files(files | {"--summary": summary}, inputs, overwrite=overwrite)
    for option, path in files.items():
        if path and path.exists() and not path.is_file():
            raise OutputError(f"{option} {path} is no file: its parts are joined beside it; give the name of a file")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; fix that, then go on with --resume") from error


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
