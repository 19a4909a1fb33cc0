"""`metrics.jsonl` of a run of many fits: a line a fit, with its losses, written as the fit ends or is found."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MetricsLog:
    """Lines of one run, in memory and, with a `path`, in its file: begun anew, for a run goes through all its fits."""

    def __init__(self, path: Path | None = None) -> None:
        self.lines: list[dict[str, Any]] = []
        self._path = path
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")

    def note(self, fit: str, found: Mapping[str, Any]) -> None:
        """Add a fit's line, unless it is there: what was fitted once may serve several choices."""
        if any(line["fit"] == fit for line in self.lines):
            return
        self.lines.append({"fit": fit, **found})
        if self._path:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(self.lines[-1]) + "\n")
