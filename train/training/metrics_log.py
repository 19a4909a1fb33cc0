"""`metrics.jsonl` of a run of many fits: a line a fit, with its losses, written as the fit ends or is found."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

import torch

EVERY: Final = 50
"""Steps whose mean loss is one point of a curve."""


class Losses:
    """What was heard: the loss of every step, by the name of what was fitted."""

    def __init__(self) -> None:
        self._losses: dict[str, list[torch.Tensor]] = {}

    def begun(self, name: str) -> list[torch.Tensor]:
        """Where the losses of one more fit go; the second of a name is called `name 2`."""
        alike = sum(known.split()[0] == name for known in self._losses)
        return self._losses.setdefault(f"{name} {alike + 1}" if alike else name, [])

    def sampled(self) -> dict[str, list[tuple[int, float]]]:
        """(step, mean loss of the EVERY steps up to it); the last steps may be fewer."""
        return {name: _sampled(losses) for name, losses in self._losses.items() if losses}


_listener: ContextVar[Losses | None] = ContextVar("listener", default=None)


@contextmanager
def listening() -> Iterator[Losses]:
    """Hears every fit of the block."""
    curves = Losses()
    before = _listener.set(curves)
    try:
        yield curves
    finally:
        _listener.reset(before)


def telling(name: str) -> Callable[[torch.Tensor], None]:
    """For a fit to call with the loss of each step. The tensor is kept as it is: reading it would wait for a GPU."""
    curves = _listener.get()
    if curves is None:
        return _unheard
    losses = curves.begun(name)
    return lambda loss: losses.append(loss.detach())


def _sampled(losses: list[torch.Tensor]) -> list[tuple[int, float]]:
    parts = torch.stack(losses).split(EVERY)
    return [(min((place + 1) * EVERY, len(losses)), round(float(part.mean()), 5)) for place, part in enumerate(parts)]


def _unheard(_: torch.Tensor) -> None:
    """Nobody listens."""


class MetricsLog:
    """Lines of one run, in memory and, with a `path`, in its file: begun anew, for a run goes through all its fits."""

    def __init__(self, path: Path | None = None) -> None:
        self.lines: list[dict[str, Any]] = []
        self._path = path
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")

    def note(self, fit: str, told: Mapping[str, Any]) -> None:
        """Add what is told of a fit, unless it is there: what was fitted once may serve several choices."""
        if any(line["fit"] == fit for line in self.lines):
            return
        self.lines.append({"fit": fit, **told})
        if self._path:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(self.lines[-1]) + "\n")
