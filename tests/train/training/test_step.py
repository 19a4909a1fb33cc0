"""A step of the optimiser: mixed precision learns what float32 learns, and a CUDA graph does what its step does."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from train.baselines.fit import prepare_model, reconstructing_model, reconstruction_loss
from train.experiments.catalogue import read_experiment
from train.experiments.experiment import changed
from train.training.augment import Copies
from train.training.loop import TrainingSchedule, batches, optimiser_of
from train.training.step import Captured, eager

EXPERIMENT = changed(read_experiment("ae")[0], {"latent": 8})
BATCH = 20


def losses(
    device: str, *, mixed: bool, epochs: int = 2, captured: bool = True, seed: int = 3
) -> tuple[list[float], nn.Module]:
    """Of every step; an epoch ends in a batch that is smaller."""
    draw = torch.Generator().manual_seed(4)
    axis = torch.arange(21) - 10.0
    width = 1.5 + torch.rand(35, 2, 1, 1, generator=draw)
    stamps = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * width**2)).to(device)
    copies = Copies(stamps, "views", draw)
    torch.manual_seed(seed)
    model = prepare_model(reconstructing_model(EXPERIMENT), EXPERIMENT, torch.device(device))
    optimiser, update = optimiser_of(
        model,
        lambda which: reconstruction_loss(model, copies.take(which)[0], "mse"),
        TrainingSchedule(epochs, BATCH, 2e-4, mixed=mixed),
    )
    if isinstance(update, Captured) and not captured:
        update = eager(lambda which: reconstruction_loss(model, copies.take(which)[0], "mse"), optimiser, mixed=mixed)
    model.train()
    order = [which for _ in range(epochs) for which in batches(len(copies), BATCH, draw, torch.device(device))]
    return [float(update(which)) for which in order], model


def farthest(losses: list[float], reference: list[float]) -> float:
    """Largest relative difference of the mean losses of two epochs."""
    ours, theirs = (torch.tensor(one).view(2, -1).mean(dim=1) for one in (losses, reference))
    return float((ours / theirs - 1).abs().max())


def nearer_than_other_weights(device: str) -> bool:
    """Whether bfloat16 changes the curve less than other initial weights do: less than the noise of an experiment."""
    plain, mixed = (losses(device, mixed=mixed)[0] for mixed in (False, True))
    assert plain != mixed
    assert plain[-1] < plain[0] / 2
    return farthest(mixed, plain) < farthest(losses(device, mixed=False, seed=4)[0], plain)


def test_mixed_precision_follows_the_curve_of_float32_within_its_noise() -> None:
    assert nearer_than_other_weights("cpu")


def test_a_step_leaves_weights_and_gradients_in_float32() -> None:
    model = losses("cpu", mixed=True, epochs=1)[1]
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in model.parameters() if weight.grad is not None} == {torch.float32}


def test_an_update_is_a_step_of_the_optimiser_and_its_loss_carries_no_gradient() -> None:
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.fill_(1.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    values = torch.eye(3)
    update = eager(lambda which: F.mse_loss(model(values[which]), torch.zeros(len(which), 1)), optimiser, mixed=False)
    first, second = update(torch.arange(3)), update(torch.arange(3))
    assert second < first
    assert not first.requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mixed", [False, True])
def test_a_cuda_graph_learns_what_its_step_learns(*, mixed: bool) -> None:
    """Warm-up steps, captured steps and the smaller last batch of an epoch, all in one sequence."""
    graph, steps = (losses("cuda", mixed=mixed, epochs=3, captured=captured)[0] for captured in (True, False))
    assert graph == pytest.approx(steps, rel=2e-2 if mixed else 1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_mixed_precision_on_a_gpu_follows_the_curve_of_float32() -> None:
    assert nearer_than_other_weights("cuda")
