"""Experiments as the command line starts them: the device, the data, the bar, the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from train.experiment import Experiment, ExperimentError
from train.layouts import read_layout
from train.loop import Progress, Watch
from train.material import prepare
from train.progress import progress_bar, tensorboard
from train.report import write_report
from train.run import Source, run
from train.stamp_set import StampSet
from train.terminal import console


@dataclass(frozen=True, slots=True)
class Trial:
    """Where experiments run and what they leave. out: gets one folder a run. origin: of the data, real or simulated.

    umap: draw the projections too. tensorboard: write its event files beside metrics.jsonl.
    """

    out: Path
    device: torch.device
    origin: str
    umap: bool = True
    tensorboard: bool = False


def choose_device(name: str) -> torch.device:
    """Raises ExperimentError on what is no device, or a GPU that is missing; `auto` says what it chose."""
    if name == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        console.print(f"device: {chosen.type} ({'a GPU is' if chosen.type == 'cuda' else 'no GPU'} visible)")
        return chosen
    try:
        asked = torch.device(name)
    except RuntimeError as error:
        raise ExperimentError(f"--device {name}: no device is called so; give cpu, cuda or auto") from error
    if asked.type not in {"cpu", "cuda"}:
        raise ExperimentError(f"--device {name}: nothing is trained there; give cpu, cuda or auto")
    visible = torch.cuda.device_count() if asked.type == "cuda" else 0
    if asked.type == "cuda" and (asked.index or 0) >= visible:
        seen = f"only {visible} CUDA device is" if visible else "no CUDA device is"
        raise ExperimentError(f"--device {name}: {seen} visible; run with --device cpu")
    return asked


def load_stamps(paths: Sequence[Path]) -> StampSet:
    """A data set from .npz, or straight from a pickle. Raises ExperimentError on more than one."""
    if len(paths) != 1:
        raise ExperimentError(f"--data was given {len(paths)} times; this experiment takes one data set")
    path = paths[0]
    return StampSet.load(path) if path.suffix == ".npz" else read_layout(path)


def launch(experiment: Experiment, stamps: StampSet, source: Source, trial: Trial) -> Path:
    """Run `experiment` with a bar on a terminal and write its report; the run's folder."""
    folder = trial.out / experiment.run
    material = prepare(stamps, experiment, trial.device)
    with progress_bar(experiment) as bar:
        watch = _both(bar, tensorboard(folder / "tensorboard")) if trial.tensorboard else bar
        outcome = run(experiment, material, source, folder, watch)
    write_report(outcome, material, folder, umap=trial.umap)
    return folder


def _both(one: Watch, other: Watch) -> Watch:
    def watch(training: Progress) -> None:
        one(training)
        other(training)

    return watch
