"""Whether the recurrent head earns its place: its score by length of the sequence, beside two baselines."""

import numpy as np
import torch
from numpy.typing import NDArray

from train.serving.dataset import Alerts
from train.serving.fit import Models, Serving, fit_heads
from train.serving.heads import mlp_logits, recurrent_logits, view_latents
from train.serving.sequence import LENGTHS, Sequences
from train.training.scores import score


def sequence_scores(
    models: Models, alerts: Alerts, held: NDArray[np.bool_], serving: Serving
) -> dict[str, dict[str, float]]:
    """Macro-F1 after 1, 2, 3, 5 and 10 alerts of held-out simulated objects, beside two baselines to beat.

    `mean of alerts` averages the MLP's probabilities of the same alerts. `times only` is a recurrent head fitted on
    latents set to zero: it sees how many alerts there are, when, and in which band.
    """
    latents = view_latents(models.encoder, alerts.inputs, (0,))
    blind = torch.zeros_like(latents)
    learnt = torch.from_numpy(np.flatnonzero(~held))
    _, times = fit_heads(blind, alerts, learnt, serving, serving.generator)
    alone = mlp_logits(models.mlp, latents[:, 0]).softmax(1)
    found: dict[str, dict[str, float]] = {}
    for length in LENGTHS:
        some = alerts.sequences.only(torch.from_numpy(held) & (alerts.sequences.lengths == length))
        if len(some):
            found[str(length)] = {
                "objects": float(len(some)),
                "recurrent": _f1(some, recurrent_logits(models.recurrent, latents[:, 0], some)),
                "mean of alerts": _f1(some, alone[some.rows[:, :length]].mean(1).log()),
                "times only": _f1(some, recurrent_logits(times, blind[:, 0], some)),
            }
    return found


def _f1(some: Sequences, answer: torch.Tensor) -> float:
    return round(score(some.label.numpy(), answer.double().softmax(1).numpy()).f1, 4)
