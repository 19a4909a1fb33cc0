"""Progress of runs: one bar over all their fits on a terminal, lines elsewhere; and TensorBoard."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, Progress, TextColumn

from train.experiments.experiment import (
    BaselineExperiment,
    ExperimentError,
    PretrainedExperiment,
    ReconstructionExperiment,
    SequenceExperiment,
)
from train.terminal import console, note
from train.training.loop import TrainingProgress, Watch, Watching

LINE_SECONDS: Final = 30.0
"""Between two lines of one phase, where there is no terminal."""
CLUSTERS: Final = "principal components, clusters, intervals"
LINEAR_PROBE: Final = "linear probe"
REPORT: Final = "figures and report"


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a run. name: as `Watching` gets it. text: for people. units: epochs at most; 1 for what is no fit."""

    run: str
    name: str
    text: str
    units: int = 1


def phases(experiment: BaselineExperiment) -> list[Phase]:
    """What a run does at most, in order."""
    parts = [phase for number in range(experiment.seeds) for phase in _seed_phases(experiment, number)]
    names = [CLUSTERS, REPORT]
    if isinstance(experiment, ReconstructionExperiment) and experiment.loss != "rmse":
        names = [LINEAR_PROBE, *names]
    return parts + [Phase(experiment.run, name, name) for name in names]


def _seed_phases(experiment: BaselineExperiment, number: int) -> Iterator[Phase]:
    run, name, text = experiment.run, f"seed-{experiment.seed + number}", f"seed {number + 1} of {experiment.seeds}"
    if isinstance(experiment, PretrainedExperiment) and experiment.pretrain_epochs:
        staged = isinstance(experiment, SequenceExperiment) and experiment.staged
        for stage in ("alone", "through") if staged else ("alone",):
            full = f"{text}, pretraining {stage}"
            yield Phase(run, f"{name}/pretrained-{stage}", full, experiment.pretrain_epochs)
    yield Phase(run, name, text, experiment.epochs)
    if isinstance(experiment, ReconstructionExperiment):
        yield Phase(run, f"{name}, converged probe", f"{text}, converged probe")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the runs are. done, total: in units of `Phase`. phase: whether it has only begun. losses: of an epoch."""

    text: str
    done: float
    total: float
    losses: str
    seconds_left: float | None

    @property
    def left(self) -> str:
        """The time left, if every fit takes all of its epochs."""
        if self.seconds_left is None:
            return ""
        return f"at most {timedelta(seconds=round(self.seconds_left))} left"


class RunProgress:
    """One progress over several runs. A fit that ends early, or was made before, takes its epochs off the total.

    The time left is of the mean speed so far, so that it does not jump from one phase to the next.
    """

    def __init__(self, runs: Sequence[BaselineExperiment], clock: Callable[[], float] = time.monotonic) -> None:
        self._names = [experiment.run for experiment in runs]
        self._ahead = [phase for experiment in runs for phase in phases(experiment)]
        self._phase = Phase("", "", "", 0)
        self._done, self._skipped, self._before = 0.0, 0.0, 0.0
        self._clock, self._start = clock, clock()

    @contextmanager
    def shown(self, experiment: BaselineExperiment) -> Iterator[Watching]:
        """Show the progress while `experiment` runs: a bar on a terminal, lines elsewhere."""
        if console.is_terminal:
            with _bar() as show:
                yield self.watching(experiment, show)
        else:
            yield self.watching(experiment, _lines(self._clock))

    def watching(self, experiment: BaselineExperiment, show: Callable[[Standing], None]) -> Watching:
        """What a run calls at each of its phases; `show` gets where all runs are."""

        def watching(phase: str, epochs: int) -> Watch:
            self._begin(experiment.run, phase)
            show(self._standing(""))

            def watch(training: TrainingProgress) -> None:
                self._advance(training, epochs)
                show(self._standing(_losses(training, epochs)))

            return watch

        return watching

    def _begin(self, run: str, name: str) -> None:
        """Count what the phase before did; the phases that were passed over are ahead no longer."""
        self._before, self._done, self._skipped = self._before + self._done - self._skipped, 0.0, 0.0
        places = [place for place, phase in enumerate(self._ahead) if (phase.run, phase.name) == (run, name)]
        self._phase = self._ahead[places[0]] if places else Phase(run, name, name, 0)
        self._ahead = self._ahead[places[0] + 1 :] if places else self._ahead

    def _advance(self, training: TrainingProgress, epochs: int) -> None:
        unit = self._phase.units / epochs
        if not self._done:  # epochs of a run that was stopped are no work of this one
            self._skipped = unit * (training.epoch if training.part else max(training.epoch - 1, 0))
        self._done = unit * (training.epoch + training.part)

    def _standing(self, losses: str) -> Standing:
        done = self._before + self._done - self._skipped
        total = self._before + self._phase.units - self._skipped + sum(phase.units for phase in self._ahead)
        left = (self._clock() - self._start) / done * (total - done) if done else None
        return Standing(self._text(), done, total, losses, left)

    def _text(self) -> str:
        run = self._phase.run
        several = f" ({self._names.index(run) + 1} of {len(self._names)} runs)" if len(self._names) > 1 else ""
        return f"{run}{several}: {self._phase.text}"


@contextmanager
def _bar() -> Iterator[Callable[[Standing], None]]:
    columns = [TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[losses]}")]
    left = TextColumn("{task.fields[left]}", markup=False)
    with Progress(columns[0], BarColumn(), columns[1], left, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, losses="", left="")
        yield lambda now: bar.update(
            task, description=now.text, completed=now.done, total=now.total, losses=now.losses, left=now.left
        )


def _lines(clock: Callable[[], float]) -> Callable[[Standing], None]:
    """A line as a phase begins, and one for an epoch where the line before is old enough."""
    text, when = "", clock()

    def show(now: Standing) -> None:
        nonlocal text, when
        if now.text == text and (not now.losses or clock() - when < LINE_SECONDS):
            return
        text, when = now.text, clock()
        parts = ", ".join(filter(None, [now.text, now.losses, now.left]))
        note(parts)

    return show


def _losses(training: TrainingProgress, epochs: int) -> str:
    if not training.records:
        return ""
    last = training.records[-1]
    losses = f"train {last['train']:.5f}, validation {last['validation']:.5f}"
    return f"epoch {training.epoch} of at most {epochs}: {losses}"


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

        def seen(training: TrainingProgress) -> None:
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
