"""Dead letters as tables, as JSON and as files. `redeliver` puts them through the pipeline again."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType

from consumer import terminal
from consumer.cli.deadletters.reader import DeadLetterInfo
from consumer.configuration.times import utc_text
from consumer.deadletters.dead_letter import DeadLetter
from consumer.decoding.alert import read_alerts
from consumer.errors import BadAlert, ConfigError, OutputError

NAME_LENGTH: Final = 100
"""Characters of a source in the name of a file: a file system takes 255 bytes."""


def by_reason(infos: Iterable[DeadLetterInfo], *, recovered: bool = False) -> list[dict[str, Any]]:
    """One row a reason, the most frequent first: letters, first and last time, the last one's explanation.

    recovered: with how many were recovered.
    """
    rows: dict[str, dict[str, Any]] = {}
    for info in infos:
        time = utc_text(info.time_ms)
        row = rows.setdefault(info.reason, {"reason": str(info.reason), "letters": 0, "first": time})
        row |= {"letters": row["letters"] + 1, "last": time, "example": info.explanation}
        if recovered:
            row["of them recovered"] = row.get("of them recovered", 0) + (info.recovered_ms is not None)
    return sorted(rows.values(), key=lambda row: -row["letters"])


def each(infos: Iterable[DeadLetterInfo], *, recovered: bool = False) -> list[dict[str, Any]]:
    """One row a dead letter: its place, as `show` takes it, and why. recovered: with the time of recovery."""
    return [
        {
            "place": spelled(info.place),
            "reason": str(info.reason),
            "bytes": info.size or 0,
            "time": utc_text(info.time_ms),
            **({"recovered": _recovery(info)} if recovered else {}),
            "message": info.explanation,
        }
        for info in infos
    ]


def _recovery(info: DeadLetterInfo) -> str | None:
    return None if info.recovered_ms is None else utc_text(info.recovered_ms)


def spelled(place: Iterable[object]) -> str:
    """SOURCE:PARTITION:POSITION:RECORD."""
    return ":".join(map(str, place))


def find(letters: Iterable[DeadLetter], place: str) -> DeadLetter:
    """The letter at a place as `each` spells it, its record left out for the first. Raises ConfigError."""
    for letter in letters:
        if place in {spelled(letter.place), spelled(letter.place[:3])}:
            return letter
    raise ConfigError(f"no dead letter is of {place!r}; `estampa deadletters list --each` names them")


def shown(letter: DeadLetter, max_bytes: int) -> dict[str, Any]:
    """One dead letter, and what decoding its packet gives today."""
    payload = letter.payload
    start = (payload or b"")[:32].hex(" ")
    facts = _facts(letter) | {"bytes": len(payload or b""), "starts_with": start}
    return facts | {"decodes_today": [_outcome(one) for one in read_alerts(payload, max_bytes)] if payload else []}


def _facts(letter: DeadLetter) -> dict[str, Any]:
    return letter.facts() | {"time": utc_text(letter.time_ms)}


def _outcome(outcome: Any) -> str:
    if isinstance(outcome, BadAlert):
        return f"{outcome.reason}: {outcome}"
    cutouts = ", ".join(f"{name} {len(data) if data else 'missing'}" for name, data in outcome.cutouts.items())
    return f"candid {outcome.candid} of {outcome.object_id}, schema {outcome.schema_version}; cutouts: {cutouts}"


def export(letters: Iterable[DeadLetter], folder: Path) -> dict[str, int]:
    """Write each packet's original bytes to `folder`, with `index.jsonl` to say which is which and why.

    Returns how many of the letters have their bytes there. Raises OutputError where the folder is not empty.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            raise OutputError(f"{folder} is not empty; export to a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        rows = [_write(letter, folder, number) for number, letter in enumerate(letters)]
        (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    kept = sum(row["file"] is not None for row in rows)
    return {"letters": len(rows), "exported": kept, "without_bytes": len(rows) - kept}


def _write(letter: DeadLetter, folder: Path, number: int) -> dict[str, Any]:
    """One packet to a file of its own; several letters of one packet share it. number: of the letter, from 0."""
    if letter.payload is None:
        return _facts(letter) | {"file": None}
    source, partition, position, _ = letter.place
    name = f"{file_name(source)}-{partition}-{position}.avro"
    same = (folder / name).exists() and (folder / name).read_bytes() == letter.payload
    if not same:
        if (folder / name).exists():
            name = f"letter-{number}-of-{name}"
        with (folder / name).open("xb") as file:  # never over another letter's bytes
            file.write(letter.payload)
    return _facts(letter) | {"file": name}


def file_name(source: str) -> str:
    """A source as a part of a file's name: it comes from a header, which may hold anything."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", source)[:NAME_LENGTH].lstrip(".-") or "_"


def letters_table(rows: Sequence[dict[str, Any]], title: str) -> RenderableType:
    """Rows with the same keys as a table; None is shown as "no"."""
    names = list(rows[0]) if rows else ["no dead letters"]
    cells = (["no" if value is None else str(value) for value in row.values()] for row in rows)
    return terminal.table(title, names, cells)
