"""Experiments as the command line starts them: the device, the data, the bar, the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from train.baselines.dataset import prepare
from train.baselines.experiment import Experiment, ExperimentError
from train.baselines.progress import progress_bar, tensorboard
from train.baselines.report import write_report
from train.baselines.run import SUMMARY, Source, is_finished, run
from train.cli.arguments import check_device, single
from train.data.layouts import read_layout
from train.data.stamp_set import UNSTATED, StampSet
from train.reporting.page import REPORT
from train.terminal import console
from train.training.loop import Progress, Watch, Watching


@dataclass(frozen=True, slots=True)
class Trial:
    """Where experiments run and what they leave.

    umap: draw the projections too. tensorboard: write its event files beside metrics.jsonl.
    """

    device: torch.device
    umap: bool = True
    tensorboard: bool = False


def choose_device(name: str) -> torch.device:
    """Raises ExperimentError on what is no device, or a GPU that is missing; `auto` says what it chose."""
    if name == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        console.print(f"device: {chosen.type} ({'a GPU is' if chosen.type == 'cuda' else 'no GPU'} visible)")
        return chosen
    check_device(name)
    asked = torch.device(name)
    visible = torch.cuda.device_count() if asked.type == "cuda" else 0
    if asked.type == "cuda" and (asked.index or 0) >= visible:
        seen = f"only {visible} CUDA device is" if visible else "no CUDA device is"
        raise ExperimentError(f"--device {name}: {seen} visible; run with --device cpu")
    return asked


def load_stamps(paths: Sequence[Path]) -> StampSet:
    """A data set from .npz, or straight from a pickle. Raises ExperimentError on more than one."""
    path = single(paths)
    return StampSet.load(path) if path.suffix == ".npz" else read_layout(path)


def source_of(path: Path, stamps: StampSet, origin: str | None) -> Source:
    """What a run says of its data; its origin is the file's own mark, or `origin` where the file bears none.

    Raises ExperimentError where the two contradict each other.
    """
    if origin and stamps.origin not in {origin, UNSTATED}:
        raise ExperimentError(f"--origin {origin}: {path} says itself that it is {stamps.origin}; leave --origin out")
    return Source(path.name, stamps.fingerprint, origin or stamps.origin)


def launch(experiment: Experiment, stamps: StampSet, source: Source, folder: Path, trial: Trial) -> None:
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

        def watch(training: Progress) -> None:
            for told in watches:
                told(training)

        return watch

    return watching
