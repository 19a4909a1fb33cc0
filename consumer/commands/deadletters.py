"""`estampa deadletters`: look at what was set aside, and take it out. `redeliver` puts it through again."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table

from consumer.alert import read_alerts
from consumer.deadletter import DeadLetter
from consumer.errors import BadAlert, ConfigError, OutputError
from consumer.letters import Slip

TIMES: Final = ("first", "last", "time")


def by_reason(slips: Iterable[Slip]) -> list[dict[str, Any]]:
    """One row a reason, the most frequent first: letters, first and last time, the last one's explanation."""
    rows: dict[str, dict[str, Any]] = {}
    for slip in slips:
        row = rows.setdefault(slip.reason, {"reason": str(slip.reason), "letters": 0, "first": slip.time_ms})
        row |= {"letters": row["letters"] + 1, "last": slip.time_ms, "example": slip.explanation}
    return sorted(rows.values(), key=lambda row: -row["letters"])


def each(slips: Iterable[Slip]) -> list[dict[str, Any]]:
    """One row a letter: its place, as `show` takes it, and why."""
    return [
        {
            "place": spelled(slip.place),
            "reason": str(slip.reason),
            "bytes": slip.size or 0,
            "time": slip.time_ms,
            "message": slip.explanation,
        }
        for slip in slips
    ]


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
    """All that is known of one letter, and what the decoder of today makes of its packet."""
    payload = letter.payload
    start = (payload or b"")[:32].hex(" ")
    facts = letter.facts() | {"time": _clock(letter.time_ms), "bytes": len(payload or b""), "starts_with": start}
    return facts | {"decodes_today": [_outcome(one) for one in read_alerts(payload, max_bytes)] if payload else []}


def _outcome(outcome: Any) -> str:
    if isinstance(outcome, BadAlert):
        return f"{outcome.reason}: {outcome}"
    cutouts = ", ".join(f"{name} {len(data) if data else 'missing'}" for name, data in outcome.cutouts.items())
    return f"candid {outcome.candid} of {outcome.object_id}, schema {outcome.schema_version}; cutouts: {cutouts}"


def export(letters: Iterable[DeadLetter], folder: Path) -> dict[str, int]:
    """Write each packet's original bytes to `folder`, with `index.jsonl` to say which is which and why.

    Returns how many of the letters have their bytes there. Raises OutputError where the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty; export to a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows = [_write(letter, folder) for letter in letters]
        (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    kept = sum(row["file"] is not None for row in rows)
    return {"letters": len(rows), "exported": kept, "without_bytes": len(rows) - kept}


def _write(letter: DeadLetter, folder: Path) -> dict[str, Any]:
    if letter.payload is None:
        return letter.facts() | {"file": None}
    source, partition, position, _ = letter.place
    name = f"{source.replace('/', '_')}-{partition}-{position}.avro"
    (folder / name).write_bytes(letter.payload)
    return letter.facts() | {"file": name}


def table(rows: Sequence[dict[str, Any]], title: str) -> RenderableType:
    """Rows of like keys as a table; times in milliseconds are shown as UTC."""
    made = Table(title=title, title_justify="left")
    for name in rows[0] if rows else ("no dead letters",):
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(_clock(value) if name in TIMES else str(value) for name, value in row.items()))
    return made


def _clock(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
