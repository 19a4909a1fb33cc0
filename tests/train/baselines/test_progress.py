"""The progress of runs: what is shown on a terminal and in a pipe, and how much of the work is done."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from train import terminal
from train.baselines import progress
from train.baselines.dataset import prepare
from train.baselines.progress import RunProgress, Standing, phases
from train.baselines.run import run
from train.data.stamp_set import StampSet, StampSource
from train.experiments.catalogue import read_experiment
from train.experiments.experiment import BaselineExperiment
from train.training.loop import TrainingProgress, Watch

FIRST_LOSSES = {"train": 0.25, "validation": 0.125}


class Seconds:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def experiment(*settings: str, name: str = "clasificador-v1") -> BaselineExperiment:
    [found] = read_experiment(name, settings)
    assert isinstance(found, BaselineExperiment)
    return found


def trained(epochs: int, part: float = 0.0) -> TrainingProgress:
    done = TrainingProgress()
    for _ in range(epochs):
        done.seen(dict(FIRST_LOSSES))
    done.part = part
    return done


@pytest.fixture
def out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is printed; the parameter says whether to a terminal."""
    found = io.StringIO()
    console = Console(file=found, force_terminal=request.param, width=200)
    for module in (progress, terminal):
        monkeypatch.setattr(module, "console", console)
    return found


@pytest.mark.parametrize("out", [True], indirect=True)
def test_a_terminal_sees_which_seed_of_how_many_the_losses_and_the_time_left(out: io.StringIO) -> None:
    clock = Seconds()
    chosen = experiment("epochs=4", "seeds=5")
    with RunProgress([chosen], clock).shown(chosen) as watching:
        watch = watching("seed-2", 4)
        clock.now = 60.0
        watch(trained(1))
    text = out.getvalue()
    assert "clasificador-v1: seed 2 of 5" in text
    assert "epoch 1 of at most 4: train 0.25000, validation 0.12500" in text
    assert "at most 0:17:00 left" in text  # one epoch a minute; 3 of this seed, 12 of three more, 2 that are no fit


@pytest.mark.parametrize("out", [False], indirect=True)
def test_a_pipe_sees_a_line_a_phase_and_epochs_that_are_30_seconds_apart(out: io.StringIO) -> None:
    clock = Seconds()
    chosen = experiment("epochs=100", "seeds=1")
    with RunProgress([chosen], clock).shown(chosen) as watching:
        watch = watching("seed-1", 100)
        for epoch in range(1, 61):
            clock.now = float(epoch)
            watch(trained(epoch))
        watching("figures and report", 1)
    lines = out.getvalue().splitlines()
    assert lines[0] == "clasificador-v1: seed 1 of 1"
    losses = "train 0.25000, validation 0.12500"
    assert lines[1] == f"clasificador-v1: seed 1 of 1, epoch 30 of at most 100: {losses}, at most 0:01:12 left"
    assert lines[2].startswith("clasificador-v1: seed 1 of 1, epoch 60 of at most 100")
    assert lines[3].startswith("clasificador-v1: figures and report, at most 0:00:")
    assert len(lines) == 4


def test_a_fit_that_ends_early_takes_its_epochs_off_the_total_and_the_speed_stays() -> None:
    clock = Seconds()
    chosen = experiment("epochs=100", "seeds=2")
    seen: list[Standing] = []
    watching = RunProgress([chosen], clock).watching(chosen, seen.append)
    for phase in ("seed-1", "seed-2"):
        watch = watching(phase, 100)
        for epoch in range(1, 11):
            clock.now += 2.0
            watch(trained(epoch))
    assert (seen[10].done, seen[10].total) == (10, 202)
    assert (seen[-1].done, seen[-1].total) == (20, 112)
    assert [shown.seconds_left for shown in (seen[10], seen[-1])] == [2 * 192, 2 * 92]


def test_epochs_of_a_run_that_was_stopped_are_no_work_of_this_one() -> None:
    clock = Seconds()
    chosen = experiment("epochs=100", "seeds=1")
    seen: list[Standing] = []
    watch = RunProgress([chosen], clock).watching(chosen, seen.append)("seed-1", 100)
    clock.now = 1.0
    watch(trained(90, 0.5))
    assert (seen[-1].done, seen[-1].total) == (0.5, 12)
    assert seen[-1].seconds_left == pytest.approx(23)


def test_several_runs_have_one_total_and_say_which_they_are() -> None:
    runs = [experiment("epochs=3", "seeds=1", f"variant={name}") for name in ("a", "b")]
    seen: list[Standing] = []
    both = RunProgress(runs, Seconds())
    both.watching(runs[0], seen.append)("seed-1", 3)
    both.watching(runs[1], seen.append)("seed-1", 3)
    assert [shown.text for shown in seen] == [
        "clasificador-v1-a (1 of 2 runs): seed 1 of 1",
        "clasificador-v1-b (2 of 2 runs): seed 1 of 1",
    ]
    assert [shown.total for shown in seen] == [10, 5]


@pytest.mark.parametrize("name", ["ae", "reconstructor-v1", "clasificador-v2", "staged"])
def test_the_phases_of_a_run_are_those_that_were_planned_in_their_order(
    name: str, sets: dict[str, StampSet], tmp_path: Path
) -> None:
    short = ["epochs=1", "probe_epochs=1", "seeds=2", "rows=15"]
    chosen = experiment(*short, *(["pretrain_epochs=1"] if name in {"clasificador-v2", "staged"} else []), name=name)
    found: list[str] = []

    def watching(phase: str, _epochs: int) -> Watch:
        found.append(phase)
        return lambda _: None

    run(chosen, prepare(sets[chosen.layout], chosen, torch.device("cpu")), StampSource("t", "0"), tmp_path, watching)
    planned = [phase.name for phase in phases(chosen)]
    assert [*found, progress.REPORT] == planned
