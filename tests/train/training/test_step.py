"""Steps of the optimiser: mixed precision learns as float32 does, a CUDA graph does as its step; a fit by its steps."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from train.baselines.fit import prepare_model, reconstructing_model, reconstruction_loss
from train.experiments.catalogue import read_experiment
from train.experiments.experiment import changed
from train.training.augment import Copies
from train.training.loop import TrainingSchedule, batches, optimiser_of
from train.training.step import Captured, eager, fit_steps, loss_curve, weighted_draws

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


def test_a_point_of_a_curve_is_the_mean_loss_of_fifty_steps_and_the_last_of_what_is_left() -> None:
    assert loss_curve([torch.tensor(float(step)) for step in range(60)]) == [(50, 24.5), (60, 54.5)]
    assert loss_curve([torch.tensor(7.0)]) == [(1, 7.0)]


def test_a_fit_takes_a_step_of_the_weights_and_of_the_rate_for_each_batch_and_returns_its_losses() -> None:
    weight = nn.Parameter(torch.tensor(1.0))
    optimiser = torch.optim.SGD([weight], lr=0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5**step)
    batches_seen = [torch.tensor([1, 2]), torch.tensor([3]), torch.tensor([4])]
    curve = fit_steps(lambda which: weight * which.sum(), batches_seen, optimiser, schedule)
    assert float(weight.detach()) == 1 - 0.5 * 3 - 0.25 * 3 - 0.125 * 4
    assert curve == [(3, round((3 * 1 + 3 * -0.5 + 4 * -1.25) / 3, 5))]


def test_draws_follow_the_weights_and_their_generator() -> None:
    weight = torch.tensor([0.0, 1.0, 3.0])
    first, again = (list(weighted_draws(weight, 1000, 2, torch.Generator().manual_seed(1))) for _ in range(2))
    assert len(first) == 2
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert torch.bincount(torch.cat(first), minlength=3)[0] == 0
    assert 0.7 < float((torch.cat(first) == 2).float().mean()) < 0.8
