"""Experiments as the command line starts them: the device, the data, the bar, the report."""

from dataclasses import dataclass
from pathlib import Path

import torch

from train.baselines.dataset import prepare
from train.baselines.progress import progress_bar, tensorboard
from train.baselines.report import write_report
from train.baselines.run import is_finished, run
from train.data.stamp_set import StampSet, StampSource
from train.experiments.experiment import Experiment
from train.reporting.page import REPORT
from train.training.loop import TrainingProgress, Watch, Watching
from train.training.provenance import SUMMARY


@dataclass(frozen=True, slots=True)
class Trial:
    """Where experiments run and what they leave.

    umap: draw the projections too. tensorboard: write its event files beside metrics.jsonl.
    """

    device: torch.device
    umap: bool = True
    tensorboard: bool = False


def launch(experiment: Experiment, stamps: StampSet, source: StampSource, folder: Path, trial: Trial) -> None:
    """Run `experiment` with a bar on a terminal and write its report into `folder`; nothing where all that is there."""
    if is_finished(folder, experiment, source) and _is_drawn(folder, umap=trial.umap):
        return
    material = prepare(stamps, experiment, trial.device)
    with progress_bar(experiment) as bar:
        watching = _both(bar, tensorboard(folder / "tensorboard")) if trial.tensorboard else bar
        outcome = run(experiment, material, source, folder, watching)
    write_report(outcome, material, folder, umap=trial.umap)


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
