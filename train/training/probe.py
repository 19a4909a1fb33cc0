"""What can be read from frozen latents: seed 001's linear probe by its protocol, and the honest ones beside it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_zoo.baselines.autoencoder import LinearProbe, ProbeConfig
from train.training.loop import TrainingProgress, Watch, batches


@dataclass(frozen=True, slots=True)
class Latents:
    """values: (N, L) float32. label: (N,) int64, on one device."""

    values: torch.Tensor
    label: torch.Tensor


@dataclass(frozen=True, slots=True)
class ProbeSchedule:
    """epochs, batch and rate (of Adam) of one pass. Seed 001: 200, 100, 0.333e-4."""

    epochs: int
    batch: int
    rate: float


def encode(encoder: Callable[[torch.Tensor], torch.Tensor], stamps: torch.Tensor, batch: int = 512) -> torch.Tensor:
    """Latents (N, L) of stamps (N, …), on their device, without gradients."""
    with torch.no_grad():
        return torch.cat([encoder(part) for part in stamps.split(batch)])


def pooled_probe(
    fit: Latents,
    held: Latents,
    schedule: ProbeSchedule,
    classes: int,
    generator: torch.Generator,
    watch: Watch | None = None,
) -> tuple[LinearProbe, NDArray[np.int64]]:
    """Seed 001's protocol: fit for `epochs`, predicting `held` after each, and pool all the predictions.

    Its table comes from a second such pass that goes on from the first one's weights. Returns the probe and the
    matrix (classes, classes) of that second pass, epochs × len(held) predictions in all, truth on rows. watch: called
    on the epochs of both.
    """
    progress = TrainingProgress()
    probe = LinearProbe(ProbeConfig(fit.values.shape[1], classes)).to(fit.values.device)
    pooled = torch.zeros(classes * classes, dtype=torch.int64)
    for _ in range(2):
        pooled = torch.zeros(classes * classes, dtype=torch.int64)
        optimiser = torch.optim.Adam(probe.parameters(), lr=schedule.rate, fused=True)
        for _ in range(schedule.epochs):
            _epoch(probe, optimiser, fit, schedule.batch, generator)
            with torch.no_grad():
                answer = probe(held.values).argmax(dim=1)
            pairs = (held.label * classes + answer).cpu()
            pooled += torch.bincount(pairs, minlength=classes * classes)
            progress.epoch += 1
            if watch:
                watch(progress)
    return probe, pooled.view(classes, classes).numpy()


def converged_probe(
    fit: NDArray[np.floating], label: NDArray[np.int64], held: NDArray[np.floating], classes: int
) -> NDArray[np.float64]:
    """Probabilities (H, classes) of a converged logistic regression on standardised latents."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(fit, label)
    return _spread(model.predict_proba(held), model.classes_, classes)


def pca_probe(
    fit: NDArray[np.floating], label: NDArray[np.int64], held: NDArray[np.floating], size: int, classes: int
) -> NDArray[np.float64]:
    """The same on the first `size` principal components of the pixels: what an autoencoder must beat."""
    flat = fit.reshape(len(fit), -1)
    kept = min(size, *flat.shape)
    model = make_pipeline(PCA(kept, random_state=0), StandardScaler(), LogisticRegression(max_iter=2000)).fit(
        flat, label
    )
    return _spread(model.predict_proba(held.reshape(len(held), -1)), model.classes_, classes)


def _epoch(
    probe: LinearProbe, optimiser: torch.optim.Optimizer, fit: Latents, batch: int, generator: torch.Generator
) -> None:
    for which in batches(len(fit.values), batch, generator):
        rows = which.to(fit.values.device)
        loss = F.cross_entropy(probe(fit.values[rows]), fit.label[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def _spread(probability: NDArray[np.float64], known: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Columns of the classes that were fitted → columns of all; a class never seen gets 0."""
    spread = np.zeros((len(probability), classes))
    spread[:, known] = probability
    return spread
