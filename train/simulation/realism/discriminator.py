"""A small convolutional network, fixed once, that tells stamps apart: real from simulated, and class from class."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from torch import nn

from train.simulation.random import Floats, Ints, Pixels
from train.training.augment import random_views
from train.training.step import fit_steps

FOLDS: Final = 5
WIDTH: Final = 24


@dataclass(frozen=True, slots=True)
class DiscriminatorTraining:
    """Settings of a fit. batch: images a step. rate: of AdamW, cosine to 0."""

    epochs: int = 40
    batch: int = 32
    rate: float = 2e-3
    decay: float = 1e-2


def build_discriminator(classes: int) -> nn.Sequential:
    """(N, 3, S, S) → (N, classes), any S of 21 or more: three strided convolutions and a mean over what is left."""
    layers: list[nn.Module] = []
    incoming = 3
    for width, side in ((WIDTH, 5), (WIDTH, 3), (2 * WIDTH, 3)):
        layers += [nn.Conv2d(incoming, width, side, 2, padding=side // 2), nn.BatchNorm2d(width), nn.ReLU()]
        incoming = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * incoming, classes)
    )


def fit_discriminator(
    images: Pixels, labels: Ints, classes: int, training: DiscriminatorTraining, seed: int
) -> nn.Sequential:
    """Train a discriminator on images (N, 3, S, S) in [0, 1], classes weighted to count alike, in random views."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    discriminator = build_discriminator(classes)
    pixels, target = torch.from_numpy(images), torch.from_numpy(labels)
    weight = len(labels) / (classes * torch.bincount(target, minlength=classes).clamp(min=1)).float()
    optimiser = torch.optim.AdamW(discriminator.parameters(), training.rate, weight_decay=training.decay)
    steps = training.epochs * (len(labels) // training.batch + int(len(labels) % training.batch > 1))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    def step(rows: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(discriminator(random_views(pixels[rows], generator)), target[rows], weight)

    fit_steps(step, _shuffled(len(labels), training, generator), optimiser, schedule)
    return discriminator.eval()


def _shuffled(count: int, training: DiscriminatorTraining, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Batches of all places, in another order each epoch; a single one is left out: batch normalisation needs two."""
    for _ in range(training.epochs):
        for rows in torch.randperm(count, generator=generator).split(training.batch):
            if len(rows) > 1:
                yield rows


@torch.inference_mode()
def class_probabilities(discriminator: nn.Sequential, images: Pixels) -> Floats:
    """Probabilities (N, classes), the mean of an image's four rotations."""
    parts = []
    for batch in torch.from_numpy(images).split(256):
        views = [F.softmax(discriminator(torch.rot90(batch, turn, (2, 3))), dim=1) for turn in range(4)]
        parts.append(torch.stack(views).mean(dim=0))
    return torch.cat(parts).numpy()


def out_of_fold(
    images: Pixels, labels: Ints, groups: NDArray[np.str_], classes: int, training: DiscriminatorTraining, seed: int
) -> Ints:
    """The class predicted for each image by a discriminator that saw no image of its group (5-fold, stratified)."""
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    predicted = np.empty(len(labels), dtype=np.int64)
    for train, test in folds.split(labels, labels, groups):
        discriminator = fit_discriminator(images[train], labels[train], classes, training, seed)
        predicted[test] = class_probabilities(discriminator, images[test]).argmax(axis=1)
    return predicted
