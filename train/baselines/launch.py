"""Runs as the command line starts them, one or a search over settings: what they will do, progress, report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table

from train.baselines.dataset import SplitTensors, prepare
from train.baselines.progress import REPORT as REPORTING
from train.baselines.progress import RunProgress, tensorboard
from train.baselines.report import write_report
from train.baselines.run import is_finished, run
from train.data.stamp_set import StampSet, StampSource
from train.experiments.catalogue import Point, unread
from train.experiments.experiment import BaselineExperiment, Experiment, ExperimentError, build
from train.experiments.run_folder import SUMMARY, changed_settings, clear
from train.reporting.page import REPORT
from train.terminal import note
from train.training.loop import TrainingProgress, Watch, Watching


@dataclass(frozen=True, slots=True)
class Trial:
    """Where experiments run and what they leave.

    umap: draw the projections too. tensorboard: write its event files beside metrics.jsonl. overwrite: remove the run
    that is in the folder.
    """

    device: torch.device
    umap: bool = True
    tensorboard: bool = False
    overwrite: bool = False


def launch(
    experiment: BaselineExperiment,
    stamps: StampSet,
    source: StampSource,
    folder: Path,
    trial: Trial,
    progress: RunProgress,
) -> None:
    """Say what `experiment` will do, run it and write its report into `folder`; nothing where all that is there."""
    if not trial.overwrite and is_finished(folder, experiment, source) and _is_drawn(folder, umap=trial.umap):
        note(f"{experiment.run}: finished before, in {folder}")
        return
    tensors = prepare(stamps, experiment, trial.device)
    if trial.overwrite:  # last, so that data which cannot be learned from costs no run
        clear(folder)
    note(f"{intention(experiment, tensors, source)} → {folder}")
    with progress.shown(experiment) as shown:
        watching = _both(shown, tensorboard(folder / "tensorboard")) if trial.tensorboard else shown
        outcome = run(experiment, tensors, source, folder, watching)
        shown(REPORTING, 1)
        write_report(outcome, tensors, folder, umap=trial.umap)


def sweep(
    experiment: Experiment, stamps: StampSet, source: StampSource, points: Sequence[Point], out: Path, trial: Trial
) -> Table:
    """Run every point that is not finished yet, each in a folder of `out`; a table of all, best on validation first.

    A point that was stopped half-way, or has more epochs now, goes on from its last epoch. Raises
    ExperimentError on a setting that is none, or that changes nothing here, or where a folder holds a point of other
    settings or data, before anything is run, or on the served model, whose run is not one of these.
    """
    made = [build(experiment.model_dump() | point | {"variant": _point_name(point)}) for point in points]
    chosen = [point for point in made if isinstance(point, BaselineExperiment)]
    if len(chosen) < len(made):
        raise ExperimentError(f"{experiment.name} cannot be searched; it chooses its own settings, see --set search")
    if idle := unread(experiment, list(points[0])):
        raise ExperimentError(f"--grid {idle[0]}")
    done = [is_finished(out / one.variant, one, source) for one in chosen]
    progress = RunProgress(chosen)
    for number, (point, finished) in enumerate(zip(chosen, done, strict=True), start=1):
        changes = changed_settings(out / point.variant, point)
        continued = "".join(f" (goes on: {key} was {before}, is {now})" for key, before, now in changes)
        note(f"{number} of {len(chosen)}: {point.variant}{'' if finished else continued}")
        launch(point, stamps, source, out / point.variant, trial, progress)
    return _sweep_table(points, out, f"{experiment.run} on {source.name} ({source.origin})")


def intention(experiment: BaselineExperiment, tensors: SplitTensors, source: StampSource) -> str:
    """What a run will do, on one line."""
    fits = f"{experiment.seeds} fits" if experiment.seeds > 1 else "1 fit"
    epochs = f"{experiment.epochs} epochs" if experiment.epochs > 1 else "1 epoch"
    data = f"{len(tensors.train):,} training stamps of {source.name} ({source.origin})"
    where = tensors.train.stamps.device.type
    return f"{experiment.run}: {fits} of at most {epochs}, {experiment.kind}, on {data}, on {where}"


def _is_drawn(folder: Path, *, umap: bool) -> bool:
    """Whether the report is of this summary, with the projections where they are requested."""
    report, projection = folder / REPORT, folder / "figures" / "umap_latents.png"
    drawn = report.is_file() and report.stat().st_mtime_ns >= (folder / SUMMARY).stat().st_mtime_ns
    return drawn and (projection.is_file() or not umap)


def _both(one: Watching, other: Watching) -> Watching:
    def watching(phase: str, epochs: int) -> Watch:
        watches = one(phase, epochs), other(phase, epochs)

        def watch(training: TrainingProgress) -> None:
            for each in watches:
                each(training)

        return watch

    return watching


def _sweep_table(points: Sequence[Point], out: Path, title: str) -> Table:
    rows = []
    for point in points:
        held = json.loads((out / _point_name(point) / SUMMARY).read_text(encoding="utf-8"))["honest"]
        rows.append((held["validation"]["f1"]["mean"], held["test"]["f1"]["mean"], _point_name(point)))
    table = Table("settings", "validation F1", "test F1", title=title)
    for validation, test, name in sorted(rows, reverse=True):
        table.add_row(name, f"{validation:.4f}", f"{test:.4f}")
    return table


def _point_name(point: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(point.items()))
