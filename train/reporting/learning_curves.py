"""What the learning curves of a fit show: each quantity on a panel of its own, named with its unit."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from train.training.loop import METRICS

Records = Sequence[Mapping[str, Any]]

MSE: Final = "MSE of pixels in [0, 1]"
RMSE: Final = "√MSE of pixels in [0, 1]"
VAE: Final = "MSE + divergence, per pixel"
CROSS_ENTROPY: Final = "cross entropy, nats"
WEIGHTED: Final = "cross entropy weighted by class, nats"
ENTROPY: Final = "cross entropy less β entropy, nats"


@dataclass(frozen=True, slots=True)
class Panel:
    """quantity: on the axis, with its unit. lines: of one value an epoch, by name. best: epoch of the weights kept."""

    quantity: str
    lines: Mapping[str, Sequence[float]]
    best: int


def curves(settings: Mapping[str, Any], records: Records) -> list[Panel]:
    """The panels of a run's main fit. settings: as in config.json. records: one an epoch, as in metrics.jsonl.

    Training and validation share a panel where they are the same quantity, and only there.
    """
    train, held = _column(records, "train"), _column(records, "validation")
    loss, best = settings["loss"], best_epoch(records)
    if loss == "rmse":
        return [Panel(RMSE, {"train": train, "validation": [math.sqrt(value) for value in held]}, best)]
    if loss == "mse":
        return [Panel(VAE if settings["kind"] == "vae" else MSE, {"train": train, "validation": held}, best)]
    accuracy = Panel("accuracy, %", {"validation": [100 * one["validation_accuracy"] for one in records]}, best)
    if loss == "crossentropy" and not settings["weighted"]:
        return [Panel(CROSS_ENTROPY, {"train": train, "validation": held}, best), accuracy]
    learned = ENTROPY if loss == "entropy" else WEIGHTED
    return [Panel(learned, {"train": train}, best), Panel(CROSS_ENTROPY, {"validation": held}, best), accuracy]


def pretraining(folder: Path) -> dict[str, list[Panel]]:
    """The panels of each stage of reconstruction before a classifier's fit in `folder`, by the stage's own folder."""
    stages = {place.parent.name: _read(place) for place in sorted(folder.glob(f"pretrained-*/{METRICS}"))}
    return {
        name: [Panel(MSE, {key: _column(records, key) for key in ("train", "validation")}, best_epoch(records))]
        for name, records in stages.items()
    }


def best_epoch(records: Records) -> int:
    """The epoch of the best validation loss, the last such: a tie counts as better."""
    best: int = min(records, key=lambda record: (record["validation"], -record["epoch"]))["epoch"]
    return best


def _column(records: Records, name: str) -> list[float]:
    return [record[name] for record in records]


def _read(path: Path) -> Records:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
