"""What is seen of a training while it runs: a bar on a terminal, and TensorBoard for who wants it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from train.experiment import Experiment, ExperimentError
from train.loop import Progress as Training
from train.loop import Watch
from train.terminal import console


@contextmanager
def progress_bar(experiment: Experiment) -> Iterator[Watch]:
    """A bar of the epochs with the last losses and the time left, for `train` to call; silent where no terminal is."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(experiment.run, total=experiment.epochs, loss="")

        def seen(training: Training) -> None:
            bar.update(task, completed=training.epoch + training.part, loss=_losses(training))

        yield seen


def tensorboard(folder: Path) -> Watch:
    """Writes every figure of an epoch to `folder`. Raises ExperimentError where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ExperimentError("--tensorboard needs a package that is not here: pip install tensorboard") from error
    writer: Any = SummaryWriter(folder)

    def seen(training: Training) -> None:
        if not training.part:
            for name, value in training.records[-1].items():
                if name != "epoch":
                    writer.add_scalar(name, value, training.epoch)
            writer.flush()

    return seen


def _losses(training: Training) -> str:
    if not training.records:
        return ""
    last = training.records[-1]
    return f"epoch {training.epoch}: train {last['train']:.5f}, validation {last['validation']:.5f}"
