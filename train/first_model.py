"""The first served model: an autoencoder of every alert, and heads on the labelled ones.

`python -m train.first_model ../shared/data/ztf` writes `model_zoo/weights/first`. The encoder sees no label; the heads
are scored out of fold, by object, and then fitted on all.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

from model_zoo.autoencoder import Autoencoder, AutoencoderConfig
from model_zoo.checkpoint import WEIGHTS, Checkpoint, save
from model_zoo.encoder import EncoderConfig, freeze
from model_zoo.mlp import Mlp, MlpConfig
from model_zoo.preprocess import Preprocessing, normalise
from model_zoo.recurrent import Recurrent, RecurrentConfig
from model_zoo.taxonomy import CLASSES
from train.augment import random_views
from train.heads import (
    HeadTraining,
    Target,
    balanced,
    fit_mlp,
    fit_recurrent,
    recurrent_logits,
    temperature,
    view_latents,
)
from train.observed import Observed, read_labels, read_observed
from train.sequence import Sequences, prefixes

SEED = 20200812
"""The day of ALeRCE's stamp classifier's preprint."""
FOLDS = 5
Heads = tuple[Mlp, Recurrent]


def main(folder: Path) -> None:
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    archives = [folder / "labelled.tar.gz", folder / "unlabelled.tar.gz", *sorted(folder.glob("containers/*.avro"))]
    alerts, refused = read_observed(archives, read_labels(folder / "labels.csv"))
    config = EncoderConfig()
    stamps = torch.from_numpy(normalise(central(alerts.stamps, config.size)))
    encoder, error = fit_autoencoder(stamps, config, generator)
    latents = view_latents(encoder, stamps)
    sequences = prefixes(alerts)
    metrics, scales = score(latents, sequences, alerts, generator)
    mlp, recurrent = fit_heads(latents, sequences, generator)
    mlp.temperature.fill_(scales["mlp"])
    recurrent.temperature.fill_(scales["recurrent"])
    metadata = {
        "data": {"alerts": len(alerts), "labelled": len(sequences), "refused": refused},
        "reconstruction_mse": error,
        "held_out": metrics,
        "seed": SEED,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    save(
        Checkpoint("first", Preprocessing(size=config.size), CLASSES, config, encoder, mlp, recurrent, metadata),
        WEIGHTS / "first",
    )
    sys.stdout.write(f"{metadata}\n")


def central(stamps: np.ndarray[Any, np.dtype[np.float32]], size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The middle (size, size) of stamps (N, C, H, W)."""
    start = (stamps.shape[2] - size) // 2
    return stamps[:, :, start : start + size, start : start + size]


def fit_autoencoder(
    stamps: torch.Tensor, config: EncoderConfig, generator: torch.Generator, epochs: int = 40, batch: int = 64
) -> tuple[torch.nn.Sequential, float]:
    """The frozen encoder, and the mean squared error of the last epoch."""
    model = Autoencoder(AutoencoderConfig(config, rectified=False))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    losses: list[float] = []
    for _ in range(epochs):
        losses = []
        for which in torch.randperm(len(stamps), generator=generator).split(batch):
            seen = random_views(stamps[which], generator)
            loss = F.mse_loss(model(seen), seen)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        schedule.step()
    freeze(model)
    return model.encoder, float(np.mean(losses))


def fit_heads(latents: torch.Tensor, sequences: Sequences, generator: torch.Generator) -> Heads:
    """Both heads on sequences of rows of latents (N, 8, L), classes counting alike, objects of one class too."""
    weight = balanced(sequences.label, sequences.weight).float()
    weighted = Sequences(sequences.rows, sequences.lengths, sequences.label, weight, sequences.jd, sequences.band)
    training = HeadTraining()
    mlp = fit_mlp(latents[sequences.judged], Target(sequences.label, weight), MlpConfig(), training, generator)
    return mlp, fit_recurrent(latents, weighted, RecurrentConfig(), training, generator)


def score(
    latents: torch.Tensor, sequences: Sequences, alerts: Observed, generator: torch.Generator
) -> tuple[dict[str, Any], dict[str, float]]:
    """Macro-F1 of both heads out of fold, and their temperatures."""
    objects = alerts.object_id[sequences.judged.numpy()]
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
    logits = {name: torch.zeros(len(sequences), len(CLASSES)) for name in ("mlp", "recurrent")}
    for fit, held in folds.split(objects, sequences.label.numpy(), objects):
        mlp, recurrent = fit_heads(latents, sequences.only(torch.from_numpy(fit)), generator)
        out = sequences.only(torch.from_numpy(held))
        with torch.inference_mode():
            logits["mlp"][held] = mlp(latents[out.judged, 0])
        logits["recurrent"][held] = recurrent_logits(recurrent, latents[:, 0], out)
    first = torch.from_numpy(alerts.first_of_object[sequences.judged.numpy()])
    macro = {
        f"{name}_macro_f1_{which}": round(
            float(f1_score(sequences.label[rows], answer[rows].argmax(1), average="macro")), 4
        )
        for name, answer in logits.items()
        for which, rows in (("first_alert", first), ("every_alert", torch.ones_like(first)))
    }
    scales = {name: temperature(answer, sequences.label, sequences.weight) for name, answer in logits.items()}
    protocol = f"{FOLDS}-fold by object; the encoder's autoencoder saw the held-out stamps, never their labels"
    return {"protocol": protocol, **macro}, scales


if __name__ == "__main__":
    main(Path(sys.argv[1]))
