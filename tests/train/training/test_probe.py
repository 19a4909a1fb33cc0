"""Probes of frozen latents."""

import numpy as np
import pytest
import torch

from train.training.loop import TrainingProgress
from train.training.probe import Latents, ProbeSchedule, converged_probe, pca_probe, pooled_probe

CLASSES = 3


def latents(rows: int, seed: int = 0) -> Latents:
    draw = torch.Generator().manual_seed(seed)
    label = torch.arange(rows) % CLASSES
    return Latents(torch.eye(4)[label] + 0.1 * torch.randn(rows, 4, generator=draw), label)


def test_a_pooled_probe_counts_the_predictions_of_its_second_pass_alone() -> None:
    told: list[int] = []

    def watch(progress: TrainingProgress) -> None:
        told.append(progress.epoch)

    generator, held = torch.Generator().manual_seed(0), latents(7, seed=1)
    _, matrix = pooled_probe(latents(30), held, ProbeSchedule(4, 10, 0.1), CLASSES, generator, watch)
    assert matrix.sum(axis=1).tolist() == [4 * 3, 4 * 2, 4 * 2], "truth on rows"
    assert told == list(range(1, 9))
    assert np.diag(matrix).tolist() == [12, 8, 8], "the second pass goes on from what the first one learned"


def test_a_pooled_probe_takes_steps_of_the_rate_that_is_asked_for() -> None:
    """Adam's first step moves every weight by the rate, whatever the loss: one step a pass."""
    torch.manual_seed(0)
    fit, rate = latents(30), 1e-3
    moved = []
    for steps in (0, 1):
        torch.manual_seed(5)
        schedule = ProbeSchedule(steps, len(fit.values), rate)
        probe, _ = pooled_probe(fit, fit, schedule, CLASSES, torch.Generator().manual_seed(0))
        moved.append(torch.cat([value.detach().flatten() for value in probe.parameters()]))
    assert (moved[1] - moved[0]).abs().max().item() == pytest.approx(2 * rate, rel=0.01)


@pytest.mark.parametrize("probe", ["converged", "pca"])
def test_a_class_that_was_not_fitted_gets_no_probability_and_the_others_their_own_column(probe: str) -> None:
    label = np.array([0, 2] * 20)
    values = np.eye(4)[label] + np.random.default_rng(0).normal(0, 0.05, (40, 4))
    found = (
        converged_probe(values, label, values, 4) if probe == "converged" else pca_probe(values, label, values, 2, 4)
    )
    assert found.shape == (40, 4)
    assert found[:, [1, 3]].tolist() == [[0, 0]] * 40
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == label).all()
