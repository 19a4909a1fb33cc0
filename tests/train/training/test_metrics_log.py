"""What is heard of a fit: its losses, and nothing that changes it."""

import json
from pathlib import Path

import torch

from model_zoo.classifier.encoder import EncoderConfig
from train.serving.encoder import EncoderTraining, Examples, fit_encoder
from train.training.metrics_log import Losses, MetricsLog, listening, telling


def fitted(steps: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    stamps = torch.rand(30, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    examples = Examples(stamps, torch.eye(5)[torch.arange(30) % 5], torch.ones(30))
    training = EncoderTraining(steps=steps, batch=8)
    return fit_encoder(examples, EncoderConfig(3, 9, 4), training, torch.Generator().manual_seed(3)).state_dict()


def test_a_fit_that_is_heard_ends_in_the_same_bits() -> None:
    unheard = fitted(60)
    with listening() as curves:
        heard = fitted(60)
    assert all(torch.equal(heard[name], unheard[name]) for name in unheard)
    assert [step for step, _ in curves.sampled()["encoder"]] == [50, 60]


def test_a_point_is_the_mean_loss_of_fifty_steps_and_the_last_of_what_is_left() -> None:
    with listening() as curves:
        tell = telling("head")
        for step in range(60):
            tell(torch.tensor(float(step)))
        telling("head")(torch.tensor(7.0))
    assert curves.sampled() == {"head": [(50, 24.5), (60, 54.5)], "head 2": [(1, 7.0)]}


def test_nothing_is_heard_outside_the_block() -> None:
    with listening() as curves:
        pass
    telling("late")(torch.tensor(1.0))
    assert curves.sampled() == Losses().sampled() == {}


def test_a_journal_has_each_fit_once_and_begins_anew_with_each_run(tmp_path: Path) -> None:
    for _ in range(2):
        journal = MetricsLog(tmp_path / "metrics.jsonl")
        for stage in ("trial", "fold"):
            journal.note("a", {"stage": stage})
        journal.note("b", {"stage": "fold"})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"fit": "a", "stage": "trial"}, {"fit": "b", "stage": "fold"}] == journal.lines
