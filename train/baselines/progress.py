"""What is seen of a training while it runs: a bar on a terminal, and TensorBoard for who wants it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from train.experiments.experiment import BaselineExperiment, ExperimentError
from train.terminal import console
from train.training.loop import TrainingProgress as Training
from train.training.loop import Watch, Watching


@contextmanager
def progress_bar(experiment: BaselineExperiment) -> Iterator[Watching]:
    """A bar of a phase's epochs with the last losses and the time left; silent where no terminal is."""
    description, loss = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[loss]}"))
    columns = (description, BarColumn(), loss, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(experiment.run, total=experiment.epochs, loss="")

        def seen(training: Training) -> None:
            bar.update(task, completed=training.epoch + training.part, loss=_losses(training))

        def watching(phase: str, epochs: int) -> Watch:
            bar.reset(task, total=epochs, description=f"{experiment.run}: {phase}", loss="")
            return seen

        yield watching


def tensorboard(folder: Path) -> Watching:
    """Writes every figure of an epoch to `folder`, by phase.

    Raises ExperimentError where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ExperimentError("--tensorboard needs a package that is not here: pip install tensorboard") from error

    def watching(phase: str, _epochs: int) -> Watch:
        writer: Any = None

        def seen(training: Training) -> None:
            nonlocal writer
            if training.part or not training.records:
                return
            writer = writer or SummaryWriter(folder / phase)
            for name, value in training.records[-1].items():
                if name != "epoch":
                    writer.add_scalar(name, value, training.epoch)
            writer.flush()

        return seen

    return watching


def _losses(training: Training) -> str:
    if not training.records:
        return ""
    last = training.records[-1]
    return f"epoch {training.epoch}: train {last['train']:.5f}, validation {last['validation']:.5f}"
