"""A search over settings: every combination a run of its own, the choice made on validation."""

import itertools
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.table import Table

from train.experiment import Experiment, ExperimentError, changed
from train.material import prepare
from train.run import SUMMARY, Source, run
from train.stamp_set import StampSet

Point = dict[str, str]


def read_grid(texts: Sequence[str], draws: int | None, seed: int) -> list[Point]:
    """Points of `key=a,b,c` axes, all combinations, or `draws` of them drawn at random.

    Raises ExperimentError on an axis without values.
    """
    axes: dict[str, list[str]] = {}
    for text in texts:
        key, _, values = text.partition("=")
        if not values:
            raise ExperimentError(f"--grid {text!r}: key=a,b,c is needed, such as rate=1e-3,1e-4")
        axes[key.strip()] = [value.strip() for value in values.split(",")]
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return points if draws is None else random.Random(seed).sample(points, min(draws, len(points)))  # noqa: S311


def sweep(
    experiment: Experiment, stamps: StampSet, source: Source, points: Sequence[Point], out: Path, device: torch.device
) -> Table:
    """Run every point that has no summary yet; a table of all, best on validation first.

    A point that was stopped half-way goes on from its last epoch. Raises ExperimentError on a setting that is none,
    before anything is run.
    """
    for chosen in [changed(experiment, point | {"variant": _name(point)}) for point in points]:
        folder = out / chosen.variant
        if not (folder / SUMMARY).is_file():
            run(chosen, prepare(stamps, chosen, device), source, folder)
    return _table(points, out)


def _table(points: Sequence[Point], out: Path) -> Table:
    rows = []
    for point in points:
        held = json.loads((out / _name(point) / SUMMARY).read_text(encoding="utf-8"))["honest"]
        rows.append((held["validation"]["f1"]["mean"], held["test"]["f1"]["mean"], _name(point)))
    table = Table("settings", "validation F1", "test F1")
    for validation, test, name in sorted(rows, reverse=True):
        table.add_row(name, f"{validation:.4f}", f"{test:.4f}")
    return table


def _name(point: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(point.items()))
