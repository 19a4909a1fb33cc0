"""A search over settings: every combination a run of its own, the choice made on validation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from train.baselines.grid import Point, read_grid
from train.baselines.launch import Trial, launch
from train.baselines.run import is_finished
from train.data.stamp_set import StampSet, StampSource
from train.experiments.experiment import Experiment, ExperimentError, changed, unread
from train.terminal import console
from train.training.provenance import SUMMARY

__all__ = ["read_grid", "sweep"]


def sweep(
    experiment: Experiment, stamps: StampSet, source: StampSource, points: Sequence[Point], out: Path, trial: Trial
) -> Table:
    """Run every point that is not finished yet, each in a folder of `out`; a table of all, best on validation first.

    A point that was stopped half-way, or is asked for at greater length, goes on from its last epoch. Raises
    ExperimentError on a setting that is none, or that changes nothing here, or where a folder holds a point of other
    settings or data, before anything is run, or on the served model, whose run is not one of these.
    """
    chosen = [changed(experiment, point | {"variant": _name(point)}) for point in points]
    if any(one.kind == "serve" for one in chosen):
        raise ExperimentError(f"{experiment.name} cannot be searched; it chooses its own settings, see --set search")
    if idle := unread(experiment, list(points[0])):
        raise ExperimentError(f"--grid {idle[0]}")
    done = [is_finished(out / one.variant, one, source) for one in chosen]
    for place, (one, before) in enumerate(zip(chosen, done, strict=True), start=1):
        console.print(f"{place} of {len(chosen)}: {one.variant}{' (finished before)' * before}", highlight=False)
        launch(one, stamps, source, out / one.variant, trial)
    return _table(points, out, f"{experiment.run} on {source.name} ({source.origin})")


def _table(points: Sequence[Point], out: Path, title: str) -> Table:
    rows = []
    for point in points:
        held = json.loads((out / _name(point) / SUMMARY).read_text(encoding="utf-8"))["honest"]
        rows.append((held["validation"]["f1"]["mean"], held["test"]["f1"]["mean"], _name(point)))
    table = Table("settings", "validation F1", "test F1", title=title)
    for validation, test, name in sorted(rows, reverse=True):
        table.add_row(name, f"{validation:.4f}", f"{test:.4f}")
    return table


def _name(point: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(point.items()))
