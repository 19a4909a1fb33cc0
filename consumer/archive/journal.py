"""How far a replay's outputs go: a file of lines, each written and synced after the parts it speaks of.

What is newer than the last whole line was not finished. A resumed replay drops it and does it again.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from consumer.errors import OutputError

NAME: Final = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line. parts: how many are finished. messages: of the source, done. counts: the account so far.

    candids: those classified since the line before, by which repeats are known.
    """

    parts: int
    messages: int
    counts: dict[str, Any]
    candids: list[int]


class ReplayJournal:
    """The journal of one replay, in the folder of its parts. subject: what is replayed, and by which model."""

    def __init__(self, folder: Path, subject: dict[str, Any]) -> None:
        self.folder = folder
        self._path = folder / NAME
        self._subject = json.loads(json.dumps(subject))

    def begin(self) -> list[JournalEntry]:
        """Start anew: no lines. Raises OutputError where a replay was left unfinished, or the folder cannot be made."""
        if self._path.exists():
            raise OutputError(f"{self.folder} holds an unfinished replay: add --resume to go on, or delete it")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._append(self._subject)
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be written: {error.strerror}; results grow there: make room for it"
            ) from error
        return []

    def resume(self) -> list[JournalEntry]:
        """The finished lines, oldest first, the file cut behind them; starts anew where there is none.

        Raises OutputError where the journal is of another archive or model.
        """
        lines, size = self._whole_lines() if self._path.exists() else ([], 0)
        if not lines:  # a kill may leave a journal without its first line
            self._path.unlink(missing_ok=True)
            return self.begin()
        if lines[0] != self._subject:
            raise OutputError(f"{self.folder} is of other archives, options or another model; delete it to start over")
        os.truncate(self._path, size)
        return [JournalEntry(**line) for line in lines[1:]]

    def add(self, progress: JournalEntry) -> None:
        """Note that all up to here is finished: call it after the parts are synced."""
        self._append(asdict(progress))

    def _append(self, line: dict[str, Any]) -> None:
        with self._path.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _whole_lines(self) -> tuple[list[Any], int]:
        """Every line that was written whole, and the bytes that they take: a kill can cut only the last."""
        lines: list[Any] = []
        size = 0
        for raw in self._path.read_bytes().splitlines(keepends=True):
            if not raw.endswith(b"\n"):
                break
            lines.append(json.loads(raw))
            size += len(raw)
        return lines, size


def candids_of(lines: Sequence[JournalEntry]) -> list[int]:
    """All candids that the journal's lines name, oldest first."""
    return [candid for line in lines for candid in line.candids]
