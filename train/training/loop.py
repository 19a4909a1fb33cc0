"""The training loop: epochs, early stopping, best and last weights, and a resumption that continues to the bit."""

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from train.errors import TrainingError
from train.files import atomic_write
from train.training.step import Captured, Step, Update, eager

BEST: Final = "best.pt"
LAST: Final = "last.pt"
METRICS: Final = "metrics.jsonl"

Watch = Callable[["TrainingProgress"], None]
Watching = Callable[[str, int], Watch]
"""From the name of a phase of a run, such as seed-1, and its epochs at most, to what is called on their progress."""


@dataclass(frozen=True, slots=True)
class TrainingSchedule:
    """How long and how fast. epochs: at most. patience: epochs without a better validation. rate, decay: Adam's.

    mixed: convolutions in bfloat16.
    """

    epochs: int
    batch: int
    rate: float
    decay: float = 0.0
    patience: int = 15
    mixed: bool = False


@dataclass(slots=True)
class TrainingProgress:
    """Where a training stands. records: one a finished epoch, as in metrics.jsonl. part: of the running epoch, done."""

    epoch: int = 0
    part: float = 0.0
    best: float = float("inf")
    since_best: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)

    def seen(self, record: dict[str, Any]) -> bool:
        """Take the record of one more epoch; True if it is the best so far. A tie counts as better, as in seed 001."""
        self.epoch, self.part = self.epoch + 1, 0.0
        self.records.append(record)
        better = bool(record["validation"] <= self.best)
        self.best, self.since_best = (record["validation"], 0) if better else (self.best, self.since_best + 1)
        return better


@dataclass(frozen=True, slots=True)
class Objective:
    """What is learned. step: the loss of a batch, training mode. validate: the validation loss, and what else to note.

    examples: how many an epoch has, copies of an augmentation counted, as the seeds did. watch: called on every batch
    and of every finished epoch, `part` being 0 then.
    """

    step: Step
    validate: Callable[[], dict[str, float]]
    examples: int
    watch: Watch | None = None


def unwatched(_phase: str, _epochs: int) -> Watch:
    """Nobody looks."""
    return lambda _training: None


def train(
    model: nn.Module,
    objective: Objective,
    schedule: TrainingSchedule,
    folder: Path,
    generator: torch.Generator,
) -> TrainingProgress:
    """Train `model` in place to its last weights; `folder` gets best.pt, last.pt and metrics.jsonl.

    A folder that was begun is gone on with, and ends with the very weights of an undisturbed run (on CPU). Raises
    TrainingError on a loss that is no number; the last good epoch stays on disk, as it does on Ctrl-C, whose
    KeyboardInterrupt then says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimiser, update = optimiser_of(model, objective.step, schedule)
    progress = _resumed(model, optimiser, generator, folder)
    _write_metrics(folder, progress.records)
    try:
        while progress.epoch < schedule.epochs and progress.since_best < schedule.patience:
            start = time.perf_counter()
            loss = _epoch(model, update, objective, schedule, generator, progress)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at a rate of {schedule.rate}; {kept(folder)}; "
                    "lower it with --set lr=… and another --out"
                )
            model.eval()
            with torch.no_grad():
                record = {"epoch": progress.epoch + 1, "train": loss, **objective.validate()}
            record["seconds"] = round(time.perf_counter() - start, 3)
            if progress.seen(record):
                _save(folder / BEST, {"model": model.state_dict(), "epoch": progress.epoch})
            _save(folder / LAST, _state(model, optimiser, generator, progress))
            _write_metrics(folder, progress.records)
            if objective.watch:
                objective.watch(progress)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(kept(folder)) from stop
    return progress


def kept(folder: Path) -> str:
    """What a training that ends too early leaves in its folder, in words."""
    return (
        f"the last finished epoch is kept in {folder}" if (folder / LAST).exists() else f"no epoch is in {folder} yet"
    )


def load_best(model: nn.Module, folder: Path) -> int:
    """Put the best weights of `folder` into `model`; the epoch they are of."""
    state = _load(folder / BEST)
    model.load_state_dict(state["model"])
    return int(state["epoch"])


def load_last(model: nn.Module, folder: Path) -> None:
    """Put the weights of the last epoch into `model`: the ones that the seeds keep."""
    model.load_state_dict(_load(folder / LAST)["model"])


def batches(
    examples: int, size: int, generator: torch.Generator, device: torch.device | None = None
) -> Iterator[torch.Tensor]:
    """Places 0 … `examples` - 1 in random order, `size` at a time, sent to `device` all at once."""
    yield from torch.randperm(examples, generator=generator).to(device or "cpu").split(size)


def optimiser_of(model: nn.Module, step: Step, schedule: TrainingSchedule) -> tuple[torch.optim.Optimizer, Update]:
    """Adam, and what takes one step of it: on a GPU a CUDA graph."""
    on_gpu = next(model.parameters()).is_cuda
    optimiser = torch.optim.Adam(
        model.parameters(), lr=schedule.rate, weight_decay=schedule.decay, fused=True, capturable=on_gpu
    )
    if on_gpu:
        return optimiser, Captured(step, optimiser, schedule.batch, mixed=schedule.mixed)
    return optimiser, eager(step, optimiser, mixed=schedule.mixed)


def _epoch(
    model: nn.Module,
    update: Update,
    objective: Objective,
    schedule: TrainingSchedule,
    generator: torch.Generator,
    progress: TrainingProgress,
) -> float:
    """Mean loss over the epoch's mini-batches. Summed on the device: to ask for it is to wait for it."""
    model.train()
    device = next(model.parameters()).device
    total, steps = torch.zeros((), dtype=torch.float64, device=device), 0
    for which in batches(objective.examples, schedule.batch, generator, device):
        total += update(which)
        steps += 1
        if objective.watch and steps * schedule.batch < objective.examples:
            progress.part = steps * schedule.batch / objective.examples
            objective.watch(progress)
    return float(total) / steps


def _state(
    model: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator, progress: TrainingProgress
) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
        "torch": torch.get_rng_state(),
        "progress": {
            "epoch": progress.epoch,
            "best": progress.best,
            "since_best": progress.since_best,
            "records": progress.records,
        },
    }


def _resumed(
    model: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator, folder: Path
) -> TrainingProgress:
    if not (folder / LAST).exists():
        return TrainingProgress()
    state = _load(folder / LAST)
    try:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"{folder / LAST} is of another model: {error}; give another --out") from error
    generator.set_state(state["generator"])
    torch.set_rng_state(state["torch"])
    return TrainingProgress(**state["progress"])


def _load(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {error}; remove it to begin anew") from error
    return state


def _save(path: Path, state: dict[str, Any]) -> None:
    """Whole or not at all: a full disk or a kill leaves the file of the epoch before."""
    try:
        with atomic_write(path) as partial:
            content = io.BytesIO()  # writing by itself, torch says of a full disk that a position is unexpected
            torch.save(state, content)
            partial.write_bytes(content.getbuffer())
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written: {error.strerror}; {kept(path.parent)}; is the disk full?"
        ) from error


def _write_metrics(folder: Path, records: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in records)
    try:
        with atomic_write(folder / METRICS) as partial:
            partial.write_text(lines, encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"{folder / METRICS} cannot be written: {error.strerror}; is the disk full?") from error
