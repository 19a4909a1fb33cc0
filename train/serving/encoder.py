"""How the serving encoder learns: labels mixed, views and shifts drawn, and a teacher's averaged answers distilled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F

from model_zoo.classifier.encoder import EncoderConfig, Supervised, freeze
from train.training.augment import VIEWS, random_views, view
from train.training.step import Curve, fit_steps, weighted_draws

CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Examples:
    """stamps: (N, C, S, S) float32. target: (N, classes) float32 probabilities. weight: (N,) float32, of its draw."""

    stamps: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor

    def __len__(self) -> int:
        return len(self.stamps)


@dataclass(frozen=True, slots=True)
class EncoderTraining:
    """steps: of AdamW, its rate one cycle up to `rate` and down. mixup: of its Beta. noise: per pixel. shift: pixels.

    dropout: on the features. smoothing: share of the target spread over all classes.
    """

    steps: int = 1200
    batch: int = 64
    rate: float = 3e-3
    decay: float = 1e-2
    mixup: float = 0.4
    noise: float = 0.02
    shift: int = 1
    dropout: float = 0.3
    smoothing: float = 0.05


def fit_encoder(
    examples: Examples,
    config: EncoderConfig,
    training: EncoderTraining,
    generator: torch.Generator,
    device: torch.device = CPU,
) -> tuple[Supervised, Curve]:
    """The encoder and its layer on top, fitted on `device`, frozen and back on the CPU; and its training losses.

    Initial weights and dropout come from torch's own generator, all else from `generator`, which stays on the CPU.
    """
    classes = examples.target.shape[1]
    model = Supervised(config, classes, training.dropout)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # convolutions: five times faster
    optimiser = torch.optim.AdamW(model.parameters(), lr=training.rate, weight_decay=training.decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.rate, total_steps=training.steps + 1)
    known = examples.stamps.to(device)
    target = (examples.target * (1 - training.smoothing) + training.smoothing / classes).to(device)

    def step(which: torch.Tensor) -> torch.Tensor:
        return _mixed_loss(model, augmented(known[which], training, generator), target[which], training, generator)

    model.train()
    draws = weighted_draws(examples.weight, training.batch, training.steps, generator)
    losses = fit_steps(step, draws, optimiser, cycle)
    freeze(model.cpu())
    return model, losses


def augmented(stamps: torch.Tensor, training: EncoderTraining, generator: torch.Generator) -> torch.Tensor:
    """Each stamp in a view of its own, moved by up to `shift` pixels (the same for the batch), noise added."""
    limit = training.shift
    rows, columns = torch.randint(-limit, limit + 1, (2,), generator=generator).tolist()
    moved = torch.roll(random_views(stamps, generator), (rows, columns), (2, 3))
    return moved + training.noise * torch.randn(moved.shape, generator=generator).to(moved.device)


def mean_probabilities(models: Sequence[Supervised], stamps: torch.Tensor, batch: int = 512) -> torch.Tensor:
    """(N, classes): the mean probability of several models over the eight views: what is distilled."""
    with torch.inference_mode():
        parts = [
            torch.stack([model(view(part, one)).softmax(1) for model in models for one in range(VIEWS)]).mean(0)
            for part in stamps.split(batch)
        ]
    return torch.cat(parts).clone()


def _mixed_loss(
    model: Supervised,
    stamps: torch.Tensor,
    target: torch.Tensor,
    training: EncoderTraining,
    generator: torch.Generator,
) -> torch.Tensor:
    """Cross entropy of stamps blended in pairs, their targets blended alike (mixup, Zhang et al. 2018)."""
    share = _beta(training.mixup, generator)
    other = torch.randperm(len(stamps), generator=generator)
    blended = (share * stamps + (1 - share) * stamps[other]).contiguous(memory_format=torch.channels_last)
    surprise = -F.log_softmax(model(blended), dim=1)
    wanted = share * target + (1 - share) * target[other]
    return (wanted * surprise).sum(dim=1).mean()


def _beta(shape: float, generator: torch.Generator) -> float:
    """One draw of Beta(shape, shape), from two gamma draws by Jöhnk's method, which holds for shapes up to 1."""
    while True:
        first, second = torch.rand(2, generator=generator, dtype=torch.float64).pow(1 / shape).tolist()
        if 0 < first + second <= 1:
            return float(first / (first + second))
