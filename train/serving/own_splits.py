"""A stamp set's own validation and test, judged by the models that serve: they learned from no row of either."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.preprocess import Preprocessing
from train.data.alert_table import Observed
from train.serving.crossvalidation import Probabilities, answers
from train.serving.dataset import gather
from train.serving.fit import Models
from train.serving.heads import view_latents
from train.training.scores import Scores, score


@dataclass(frozen=True, slots=True)
class OwnSplit:
    """Row by row, in the set's order; of a row of several stamps, after its last. label: (N,) int64.

    probabilities: (N, classes) by judge. judge: the head that is made for such rows. inputs: (N, C * S * S) of the
    last stamp. latents: (N, L) of it.
    """

    label: NDArray[np.int64]
    probabilities: Probabilities
    judge: str
    inputs: NDArray[np.float32]
    latents: NDArray[np.float32]

    @property
    def scores(self) -> dict[str, Scores]:
        return {judge: score(self.label, probability) for judge, probability in self.probabilities.items()}


def judge_own(models: Models, own: Mapping[str, Observed], preprocessing: Preprocessing) -> dict[str, OwnSplit]:
    """What the heads that see images, calibrated, say of each split."""
    return {split: _judged(models, some, preprocessing) for split, some in own.items()}


def _judged(models: Models, some: Observed, preprocessing: Preprocessing) -> OwnSplit:
    alerts = gather(some, [], preprocessing)
    judged = alerts.sequences.judged.numpy()
    _, from_the_end = np.unique(alerts.table.key[::-1], return_index=True)
    rows = np.argsort(judged)[np.sort(len(judged) - 1 - from_the_end)]  # every alert is judged: it has a label
    said = answers(models, alerts, rows)
    inputs = alerts.inputs[torch.from_numpy(judged[rows])]
    return OwnSplit(
        label=alerts.sequences.label.numpy()[rows],
        probabilities={judge: logits.double().softmax(1).numpy() for judge, logits in said.items()},
        judge="recurrent" if int(alerts.sequences.lengths.max()) > 1 else "mlp",
        inputs=inputs.flatten(1).numpy(),
        latents=view_latents(models.encoder, inputs, (0,))[:, 0].numpy(),
    )
