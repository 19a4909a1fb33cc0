"""Experiments as the command line starts them: the device, the data, the bar, the report."""

from dataclasses import dataclass
from pathlib import Path

import torch

from train.baselines.dataset import SplitTensors, prepare
from train.baselines.progress import REPORT as REPORTING
from train.baselines.progress import RunProgress, tensorboard
from train.baselines.report import write_report
from train.baselines.run import is_finished, run
from train.data.source import StampSource
from train.data.stamp_set import StampSet
from train.experiments.experiment import BaselineExperiment
from train.experiments.run_folder import SUMMARY, clear
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
    material = prepare(stamps, experiment, trial.device)
    if trial.overwrite:  # last, so that data which cannot be learned from costs no run
        clear(folder)
    note(f"{intention(experiment, material, source)} → {folder}")
    with progress.shown(experiment) as shown:
        watching = _both(shown, tensorboard(folder / "tensorboard")) if trial.tensorboard else shown
        outcome = run(experiment, material, source, folder, watching)
        shown(REPORTING, 1)
        write_report(outcome, material, folder, umap=trial.umap)


def intention(experiment: BaselineExperiment, material: SplitTensors, source: StampSource) -> str:
    """What a run will do, on one line."""
    fits = f"{experiment.seeds} fits" if experiment.seeds > 1 else "1 fit"
    epochs = f"{experiment.epochs} epochs" if experiment.epochs > 1 else "1 epoch"
    data = f"{len(material.train):,} training stamps of {source.name} ({source.origin})"
    where = material.train.stamps.device.type
    return f"{experiment.run}: {fits} of at most {epochs}, {experiment.kind}, on {data}, on {where}"


def _is_drawn(folder: Path, *, umap: bool) -> bool:
    """Whether the report is of this summary, with the projections where they are wanted."""
    report, projection = folder / REPORT, folder / "figures" / "umap_latents.png"
    drawn = report.is_file() and report.stat().st_mtime_ns >= (folder / SUMMARY).stat().st_mtime_ns
    return drawn and (projection.is_file() or not umap)


def _both(one: Watching, other: Watching) -> Watching:
    def watching(phase: str, epochs: int) -> Watch:
        watches = one(phase, epochs), other(phase, epochs)

        def watch(training: TrainingProgress) -> None:
            for told in watches:
                told(training)

        return watch

    return watching
