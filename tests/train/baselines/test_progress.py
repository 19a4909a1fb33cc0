"""The bar: losses and time left on a terminal, nothing at all elsewhere."""

import io

import pytest
from rich.console import Console

from train.baselines import progress
from train.experiments.catalogue import read_experiment
from train.training.loop import TrainingProgress

EXPERIMENT = read_experiment("ae", ["epochs=4"])[0]


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> str:
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, force_terminal=terminal, width=120))
    with progress.progress_bar(EXPERIMENT) as watching:
        seen = watching("seed-2/pretrained-alone", 4)
        training = TrainingProgress()
        training.part = 0.5
        seen(training)
        training.seen({"train": 0.25, "validation": 0.125})
        seen(training)
    return out.getvalue()


def test_a_terminal_sees_the_losses_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True)
    assert "ae: seed-2/pretrained-alone" in text
    assert "epoch 1: train 0.25000, validation 0.12500" in text
    assert "-:--:--" in text or "0:00" in text


def test_a_file_or_a_pipe_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not shown(monkeypatch, terminal=False)
