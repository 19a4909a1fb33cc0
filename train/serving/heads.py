"""The heads on frozen latents: how the MLP and the recurrent classifier are fitted and calibrated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from model_zoo.classifier.encoder import freeze, latent_moments
from model_zoo.classifier.mlp import Mlp, MlpConfig
from model_zoo.classifier.recurrent import Recurrent, RecurrentConfig
from train.serving.sequence import Sequences
from train.training.augment import VIEWS, view
from train.training.losses import telling


@dataclass(frozen=True, slots=True)
class Target:
    """label: (N,) int64, place in the classes. weight: (N,) float32, how often each is drawn."""

    label: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True, slots=True)
class HeadTraining:
    """Settings of one fit. batch: examples a step. rate: of AdamW, cosine to 0. smoothing: of the labels."""

    steps: int = 3000
    batch: int = 128
    rate: float = 5e-3
    decay: float = 1e-2
    smoothing: float = 0.05


def fit_mlp(
    latents: torch.Tensor,
    target: Target,
    config: MlpConfig,
    training: HeadTraining,
    generator: torch.Generator,
) -> Mlp:
    """The MLP for latents (N, V, L) of V views of each alert; a random view each time."""
    head = Mlp(config)
    head.mean, head.deviation = latent_moments(latents.flatten(0, 1))

    def logits(which: torch.Tensor) -> torch.Tensor:
        views = torch.randint(latents.shape[1], (len(which),), generator=generator)
        answer: torch.Tensor = head(latents[which, views])
        return answer

    _fit(head, logits, target, training, generator)
    return head


def fit_recurrent(
    latents: torch.Tensor,
    sequences: Sequences,
    config: RecurrentConfig,
    training: HeadTraining,
    generator: torch.Generator,
) -> Recurrent:
    """The recurrent head for sequences of rows of latents (N, V, L); every step in a random view of its own."""
    head = Recurrent(config)
    head.mean, head.deviation = latent_moments(latents[sequences.judged].flatten(0, 1))

    def logits(which: torch.Tensor) -> torch.Tensor:
        some = trimmed(sequences.only(which))
        views = torch.randint(latents.shape[1], some.rows.shape, generator=generator)
        answer: torch.Tensor = head(latents[some.rows, views], some.jd, some.band, some.lengths)
        return answer

    _fit(head, logits, Target(sequences.label, sequences.weight), training, generator)
    return head


def mlp_logits(head: Mlp, latents: torch.Tensor) -> torch.Tensor:
    """(N, classes) for latents (N, L)."""
    with torch.inference_mode():
        answer: torch.Tensor = head(latents)
    return answer.clone()


def recurrent_logits(head: Recurrent, latents: torch.Tensor, sequences: Sequences) -> torch.Tensor:
    """(S, classes) for sequences of rows of latents (N, L)."""
    with torch.inference_mode():
        answer: torch.Tensor = head(latents[sequences.rows], sequences.jd, sequences.band, sequences.lengths)
    return answer.clone()


def mean_of_alerts(every: torch.Tensor, sequences: Sequences) -> torch.Tensor:
    """(S, classes): the mean of every's (N, classes) rows over the valid steps of each sequence."""
    valid = torch.arange(sequences.rows.shape[1]) < sequences.lengths[:, None]
    return (every[sequences.rows] * valid[..., None]).sum(1) / sequences.lengths[:, None]


def trimmed(sequences: Sequences) -> Sequences:
    """`sequences` without the columns that only pad."""
    longest = int(sequences.lengths.max())
    return Sequences(
        sequences.rows[:, :longest],
        sequences.lengths,
        sequences.label,
        sequences.weight,
        sequences.jd[:, :longest],
        sequences.band[:, :longest],
    )


def view_latents(
    encode: Callable[[torch.Tensor], torch.Tensor], stamps: torch.Tensor, views: Sequence[int] = range(VIEWS)
) -> torch.Tensor:
    """(N, V, L): latents of the given views of stamps (N, C, S, S)."""
    with torch.inference_mode():
        found = [torch.cat([encode(view(part, one)) for part in stamps.split(64)]) for one in views]
    return torch.stack(found, dim=1).clone()


def balanced(label: torch.Tensor, weight: torch.Tensor, power: float = 1.0) -> torch.Tensor:
    """`weight` (N,) times 1 / (its class's sum) ** power, scaled to a mean of 1: power 1 makes classes count alike."""
    total = torch.zeros(int(label.max()) + 1, dtype=weight.dtype).index_add_(0, label, weight)
    scaled = weight / total[label] ** power
    return scaled / scaled.mean()


def temperature(logits: torch.Tensor, label: torch.Tensor, weight: torch.Tensor) -> float:
    """The temperature that minimises the weighted negative log likelihood of held-out logits (Guo et al. 2017)."""
    grid = torch.logspace(-1, 1, 201)
    losses = [
        float((F.cross_entropy(logits / one, label, reduction="none") * weight).sum() / weight.sum()) for one in grid
    ]
    return float(grid[int(torch.tensor(losses).argmin())])


def _fit(
    head: torch.nn.Module,
    logits: Callable[[torch.Tensor], torch.Tensor],
    target: Target,
    training: HeadTraining,
    generator: torch.Generator,
) -> None:
    optimiser = torch.optim.AdamW(head.parameters(), lr=training.rate, weight_decay=training.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.steps)
    tell = telling(type(head).__name__.lower())
    head.train()
    for _ in range(training.steps):
        which = torch.multinomial(target.weight, training.batch, replacement=True, generator=generator)
        loss = F.cross_entropy(logits(which), target.label[which], label_smoothing=training.smoothing)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        tell(loss)
    freeze(head)
