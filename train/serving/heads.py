"""The heads on frozen latents: how the MLP and the recurrent classifier are fitted and calibrated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from torch import nn

from model_zoo.classifier.encoder import freeze, latent_moments
from model_zoo.classifier.mlp import Mlp, MlpConfig
from model_zoo.classifier.recurrent import Recurrent, RecurrentConfig
from model_zoo.metadata import COLUMNS, Column, column_values, metadata_input
from train.serving.dataset import Sequences
from train.training.augment import VIEWS, view
from train.training.step import Curve, Step, fit_steps, weighted_draws


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
) -> tuple[Mlp, Curve]:
    """The MLP for latents (N, V, L) of V views of each alert, a random view each time; and its training losses."""
    head = Mlp(config)
    head.mean, head.deviation = latent_moments(latents.flatten(0, 1))

    def logits(which: torch.Tensor) -> torch.Tensor:
        views = torch.randint(latents.shape[1], (len(which),), generator=generator)
        answer: torch.Tensor = head(latents[which, views])
        return answer

    return head, _fit(head, logits, target, training, generator)


def fit_recurrent(
    latents: torch.Tensor,
    sequences: Sequences,
    config: RecurrentConfig,
    training: HeadTraining,
    generator: torch.Generator,
) -> tuple[Recurrent, Curve]:
    """The recurrent head for sequences of rows of latents (N, V, L), every alert in a random view; and its losses."""
    head = Recurrent(config)
    head.mean, head.deviation = latent_moments(latents[sequences.last_rows].flatten(0, 1))

    def logits(which: torch.Tensor) -> torch.Tensor:
        some = trimmed(sequences.only(which))
        views = torch.randint(latents.shape[1], some.rows.shape, generator=generator)
        answer: torch.Tensor = head(latents[some.rows, views], some.jd, some.band, some.lengths)
        return answer

    return head, _fit(head, logits, Target(sequences.label, sequences.weight), training, generator)


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
    """(N, V, L): latents of the views, by number, of stamps (N, C, S, S)."""
    with torch.inference_mode():
        found = [torch.cat([encode(view(part, one)) for part in stamps.split(64)]) for one in views]
    return torch.stack(found, dim=1).clone()


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
) -> Curve:
    """Fit and freeze a head; its training losses."""

    def step(which: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits(which), target.label[which], label_smoothing=training.smoothing)

    head.train()
    losses = _cosine_fit(head, step, target.weight, training, generator)
    freeze(head)
    return losses


def _cosine_fit(
    model: nn.Module,
    step: Step,
    weight: torch.Tensor,
    training: "HeadTraining | MetadataTraining",
    generator: torch.Generator,
) -> Curve:
    """AdamW, its rate on a cosine to 0, on batches drawn by weight (N,)."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=training.rate, weight_decay=training.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.steps)
    draws = weighted_draws(weight, training.batch, training.steps, generator)
    return fit_steps(step, draws, optimiser, schedule)


KINDS: Final = ("labels", "forest")
KNOTS: Final = 17
REACH: Final = 1.7
"""Levels go evenly from -1.7 to 1.7, which is about a mean of 0 and a deviation of 1."""
UNSEEN: Final = -99.0
"""What a tree gets for a missing value: below all others."""


@dataclass(frozen=True, slots=True)
class MetadataTraining:
    """kinds: what members learn from: labels, or a forest's answers beside them. members: MLPs of each kind, averaged.

    lost: share of values hidden in training; a row in twenty loses all of them. noise: on levels. trees: of the forest.
    crossed: rows that it answers for, made of two real ones each, as multiples of these.
    """

    kinds: tuple[str, ...] = KINDS
    members: int = 3
    hidden: int = 128
    steps: int = 500
    batch: int = 128
    rate: float = 3e-3
    decay: float = 1e-2
    smoothing: float = 0.05
    dropout: float = 0.5
    lost: float = 0.2
    noise: float = 0.1
    trees: int = 300
    crossed: int = 4


@dataclass(frozen=True, slots=True)
class HeadTable:
    """values: (N, F) float64, the `metadata_fields` of COLUMNS. target: (N, classes). weight: (N,), of the draw."""

    values: NDArray[np.float64]
    target: torch.Tensor
    weight: torch.Tensor


def fit_columns(values: NDArray[np.float64]) -> tuple[Column, ...]:
    """COLUMNS with knots at the quantiles of values (N, F): equal quantiles are one knot, at their mean level."""
    raw = column_values(values, COLUMNS)
    return tuple(_column(name, part[np.isfinite(part)]) for name, part in zip(COLUMNS, raw.T, strict=True))


def fit_members(
    table: HeadTable, columns: Sequence[Column], training: MetadataTraining, generator: torch.Generator
) -> tuple[list[nn.Sequential], list[Curve]]:
    """MLPs of metadata alone, (N, 2M) → logits: so many of each kind, in order; and the training losses of each."""
    members = []
    for kind in training.kinds:
        seen = taught(table, training, generator) if kind == "forest" else table
        inputs = torch.from_numpy(metadata_input(seen.values, columns))
        members += [_member(inputs, seen, training, generator) for _ in range(training.members)]
    return [member for member, _ in members], [losses for _, losses in members]


def taught(table: HeadTable, training: MetadataTraining, generator: torch.Generator) -> HeadTable:
    """`table` with targets half of the labels and half of a forest's out-of-bag answers, and crossed rows after it.

    A crossed row takes a random share of its values from one alert and the rest from another; the forest alone says
    what it is. So a smooth head learns the forest's shape where there are few alerts.
    """
    random = np.random.default_rng(int(torch.randint(1 << 31, (), generator=generator)))
    forest = ExtraTreesClassifier(
        training.trees, max_features=0.3, bootstrap=True, oob_score=True, random_state=int(random.integers(1 << 31))
    )
    weight = table.weight.double().numpy()
    known = column_values(table.values, COLUMNS)
    forest.fit(np.where(np.isnan(known), UNSEEN, known), table.target.argmax(1).numpy(), weight)
    one, other = random.choice(len(weight), (2, training.crossed * len(weight)), p=weight / weight.sum())
    kept = random.random((len(one), table.values.shape[1])) < random.random((len(one), 1))
    crossed = np.where(kept, table.values[one], table.values[other])
    made = column_values(crossed, COLUMNS)
    crossed_answers = forest.predict_proba(np.where(np.isnan(made), UNSEEN, made))
    classes = table.target.shape[1]
    sure = np.nan_to_num(forest.oob_decision_function_, nan=1 / classes)
    predictions = np.zeros((len(weight) + len(crossed_answers), classes), np.float32)
    predictions[:, forest.classes_] = np.concatenate([sure, crossed_answers])
    target = torch.from_numpy(predictions)
    target[: len(weight)] = (target[: len(weight)] + table.target) / 2
    even = torch.full((len(crossed_answers),), float(table.weight.mean()) / training.crossed)
    return HeadTable(np.concatenate([table.values, crossed]), target, torch.cat([table.weight, even]))


def members_logits(members: Sequence[nn.Sequential], inputs: torch.Tensor) -> torch.Tensor:
    """(N, classes): the members' mean logits for metadata (N, 2M)."""
    with torch.inference_mode():
        return torch.stack([member(inputs) for member in members]).mean(0).clone()


def folded(image: Mlp, members: Sequence[nn.Sequential], columns: Sequence[Column], share: float) -> Mlp:
    """One MLP whose logits are `share` of the image head's and the rest of the members' mean.

    Heads of one hidden layer, side by side, are one head with a wider hidden layer: exactly, and at no other cost.
    """
    weighted = [(_linear(image.layers), share)]
    weighted += [(_linear(member), (1 - share) / len(members)) for member in members]
    (first, _), _ = weighted[0]
    seen = torch.cat([one.weight for (one, _), _ in weighted[1:]])
    tensors = {
        "mean": image.mean,
        "deviation": image.deviation,
        "temperature": torch.ones(()),
        "layers.0.weight": torch.block_diag(first.weight, seen),
        "layers.0.bias": torch.cat([one.bias for (one, _), _ in weighted]),
        "layers.3.weight": torch.cat([part * last.weight for (_, last), part in weighted], dim=1),
        "layers.3.bias": torch.stack([part * last.bias for (_, last), part in weighted]).sum(0),
    }
    config = image.config
    whole = Mlp(MlpConfig(config.latent, len(tensors["layers.0.bias"]), config.classes, config.dropout, tuple(columns)))
    whole.load_state_dict(tensors)
    freeze(whole)
    return whole


def hidden_at_random(inputs: torch.Tensor, training: MetadataTraining, generator: torch.Generator) -> torch.Tensor:
    """Metadata (N, 2M) with noise on its levels and some values missing, in one row of twenty all."""
    levels, missing = inputs.chunk(2, dim=1)
    lost = torch.rand(levels.shape, generator=generator) < training.lost
    lost |= torch.rand((len(levels), 1), generator=generator) < 1 / 20
    gone = lost | (missing > 0)
    noisy = levels + training.noise * torch.randn(levels.shape, generator=generator)
    return torch.cat([noisy.masked_fill(gone, 0), gone.float()], dim=1)


def _column(name: str, known: NDArray[np.float64]) -> Column:
    if not len(known):
        return Column(name, (0.0,), (0.0,))
    quantiles = [float(f"{value:.6g}") for value in np.quantile(known, np.linspace(0, 1, KNOTS))]
    knots, place, repeats = np.unique(quantiles, return_inverse=True, return_counts=True)
    levels = np.bincount(place, np.linspace(-REACH, REACH, KNOTS)) / repeats
    return Column(name, tuple(knots.tolist()), tuple(levels.round(4).tolist()))


def _linear(layers: nn.Sequential) -> tuple[nn.Linear, nn.Linear]:
    return cast("nn.Linear", layers[0]), cast("nn.Linear", layers[3])


def _member(
    inputs: torch.Tensor, table: HeadTable, training: MetadataTraining, generator: torch.Generator
) -> tuple[nn.Sequential, Curve]:
    classes = table.target.shape[1]
    layers = nn.Linear(inputs.shape[1], training.hidden), nn.ReLU(), nn.Dropout(training.dropout)
    member = nn.Sequential(*layers, nn.Linear(training.hidden, classes))
    target = table.target * (1 - training.smoothing) + training.smoothing / classes

    def step(which: torch.Tensor) -> torch.Tensor:
        answer = member(hidden_at_random(inputs[which], training, generator))
        return -(target[which] * F.log_softmax(answer, dim=1)).sum(1).mean()

    losses = _cosine_fit(member, step, table.weight, training, generator)
    freeze(member)
    return member, losses
