"""`estampa-serve`: the models that serve, from real alerts and simulated nights, scored on held-out objects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from torch import nn

from model_zoo.encoder import EncoderConfig
from model_zoo.mlp import Mlp, MlpConfig
from model_zoo.preprocess import Preprocessing, encoder_input
from model_zoo.recurrent import Recurrent, RecurrentConfig
from model_zoo.supervised import Supervised
from model_zoo.taxonomy import CLASSES
from train.evaluate import score
from train.heads import (
    HeadTraining,
    Target,
    balanced,
    fit_mlp,
    fit_recurrent,
    mlp_logits,
    recurrent_logits,
    temperature,
    view_latents,
)
from train.observed import Observed, joined
from train.sequence import Sequences, prefixes
from train.supervised import EncoderTraining, Examples, averaged_answers, fit_encoder

HEADS: Final = ("mlp", "recurrent")
Logits = dict[str, torch.Tensor]
Watch = Callable[[int, float], None]
"""Told of each fold that is done, and the MLP's macro-F1 on it."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How a served model is made. teachers: encoders averaged over eight views and distilled, 0 to learn from labels.

    taught: share of the teachers' answer in a labelled alert's target. simulated: share of simulated alerts in
    what is drawn. balance: 1 makes classes count alike, 0 as often as they occur. folds: of the score.
    """

    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(normalisation="noise"))
    latent: int = 42
    teachers: int = 2
    taught: float = 0.5
    simulated: float = 0.5
    balance: float = 0.5
    folds: int = 5
    seed: int = 20200812
    encoder: EncoderTraining = field(default_factory=EncoderTraining)
    heads: HeadTraining = field(default_factory=lambda: HeadTraining(steps=1200, batch=128, rate=2e-3))

    @property
    def config(self) -> EncoderConfig:
        return EncoderConfig(len(self.preprocessing.channels), self.preprocessing.size, self.latent)

    @property
    def generator(self) -> torch.Generator:
        torch.manual_seed(self.seed)
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True, slots=True)
class Alerts:
    """What is learned from. table: real and simulated. simulated: (N,) whether each is. inputs: (N, C, S, S)."""

    table: Observed
    simulated: NDArray[np.bool_]
    inputs: torch.Tensor
    sequences: Sequences

    @property
    def judged_real(self) -> NDArray[np.bool_]:
        """(S,): whether a sequence ends in a real alert."""
        real: NDArray[np.bool_] = ~self.simulated[self.sequences.judged.numpy()]
        return real

    @property
    def objects(self) -> NDArray[np.str_]:
        """(S,): the object of each sequence."""
        names: NDArray[np.str_] = self.table.object_id[self.sequences.judged.numpy()]
        return names


@dataclass(frozen=True, slots=True)
class Models:
    """An encoder, frozen, with its heads; and the teachers that it was distilled from."""

    encoder: nn.Sequential
    mlp: Mlp
    recurrent: Recurrent
    teachers: tuple[Supervised, ...]


def gather(real: Observed, simulated: Sequence[Observed], serving: Serving) -> Alerts:
    """Real alerts and simulated skies as one. Objects of a simulated sky are marked, so that none can meet."""
    marked = [_marked(sky, place) for place, sky in enumerate(simulated)]
    table = joined([real, *marked])
    return Alerts(
        table=table,
        simulated=np.char.startswith(table.object_id, SIMULATED),
        inputs=torch.from_numpy(encoder_input(table.stamps, serving.preprocessing)),
        sequences=prefixes(table),
    )


SIMULATED: Final = "simulated "

HEAD_VIEWS: Final = (0, 5)
"""The heads learn on a stamp as it is and turned and mirrored: the encoder has seen all eight, and two suffice."""


def fit_models(alerts: Alerts, serving: Serving, held: NDArray[np.bool_]) -> Models:
    """Encoder and heads from all alerts but those of the sequences `held` (S,) and of their objects."""
    generator = serving.generator
    kept = ~np.isin(alerts.table.object_id, np.unique(alerts.objects[held]))
    encoder, teachers = fit_served_encoder(alerts, serving, kept, generator)
    latents = view_latents(encoder, alerts.inputs, HEAD_VIEWS)
    chosen = torch.from_numpy(np.flatnonzero(kept[alerts.sequences.judged.numpy()]))
    mlp, recurrent = fit_heads(latents, alerts, chosen, serving, generator)
    return Models(encoder, mlp, recurrent, tuple(teachers))


def fit_served_encoder(
    alerts: Alerts, serving: Serving, kept: NDArray[np.bool_], generator: torch.Generator
) -> tuple[nn.Sequential, list[Supervised]]:
    """Teachers on the labelled alerts that are `kept` (N,); then the encoder, taught on those without a label too."""
    labelled = torch.from_numpy(np.flatnonzero(kept & alerts.table.labelled))
    weight = _weights(alerts, labelled.numpy(), serving)
    known = torch.from_numpy(alerts.table.label)
    target = F.one_hot(known[labelled], len(CLASSES)).float()
    plain = Examples(alerts.inputs[labelled], target, weight)
    teachers = [fit_encoder(plain, serving.config, serving.encoder, generator) for _ in range(serving.teachers)]
    if not teachers:
        return fit_encoder(plain, serving.config, serving.encoder, generator).encoder, []
    spare = torch.from_numpy(np.flatnonzero(kept & ~alerts.table.labelled))
    blended = target * (1 - serving.taught) + averaged_answers(teachers, plain.stamps) * serving.taught
    taught = Examples(
        torch.cat([plain.stamps, alerts.inputs[spare]]),
        torch.cat([blended, averaged_answers(teachers, alerts.inputs[spare])]),
        torch.cat([weight, weight.median().expand(len(spare))]),
    )
    return fit_encoder(taught, serving.config, serving.encoder, generator).encoder, teachers


def fit_heads(
    latents: torch.Tensor, alerts: Alerts, chosen: torch.Tensor, serving: Serving, generator: torch.Generator
) -> tuple[Mlp, Recurrent]:
    """Both heads on the chosen sequences of rows of latents (N, 8, L)."""
    some = alerts.sequences.only(chosen)
    weight = _weights(alerts, some.judged.numpy(), serving)
    weighted = Sequences(some.rows, some.lengths, some.label, weight, some.jd, some.band)
    shape = {"latent": serving.latent, "classes": len(CLASSES)}
    target = Target(some.label, weight)
    mlp = fit_mlp(latents[some.judged], target, MlpConfig(**shape), serving.heads, generator)
    return mlp, fit_recurrent(latents, weighted, RecurrentConfig(**shape), serving.heads, generator)


def cross_validate(
    alerts: Alerts, serving: Serving, watch: Watch | None = None
) -> tuple[dict[str, Any], dict[str, float]]:
    """Scores of both heads on real objects that nothing was fitted on, and the temperatures for the final model.

    Each fold's temperature is that of the other folds' held-out answers, so that calibration too is scored on alerts
    that did not set it.
    """
    real = np.flatnonzero(alerts.judged_real)
    some, objects = alerts.sequences.only(torch.from_numpy(real)), alerts.objects[real]
    folds = StratifiedGroupKFold(serving.folds, shuffle=True, random_state=serving.seed)
    judges = (*HEADS, "teachers") if serving.teachers else HEADS
    logits: Logits = {name: torch.zeros(len(real), len(CLASSES)) for name in judges}
    fold = np.zeros(len(real), np.int64)
    for place, (_, out) in enumerate(folds.split(objects, some.label.numpy(), objects)):
        held = np.zeros(len(alerts.sequences), np.bool_)
        held[real[out]] = True
        models = fit_models(alerts, serving, held)
        for name, answer in answers(models, alerts, real[out]).items():
            logits[name][out] = answer
        fold[out] = place
        if watch:
            watch(place, score(some.label.numpy()[out], logits["mlp"][out].double().softmax(1).numpy()).f1)
    first = alerts.table.first_of_object[some.judged.numpy()]
    return _scores(logits, some, fold, first), {name: _temperature(logits[name], some) for name in HEADS}


def answers(models: Models, alerts: Alerts, which: NDArray[np.int64]) -> Logits:
    """Logits (len(which), classes) of the chosen sequences: one pass for the heads, eight views for the teachers."""
    some = alerts.sequences.only(torch.from_numpy(which))
    rows = torch.unique(some.rows)
    latents = torch.zeros(len(alerts.inputs), models.mlp.config.latent)
    with torch.inference_mode():
        latents[rows] = models.encoder(alerts.inputs[rows])
    found = {
        "mlp": mlp_logits(models.mlp, latents[some.judged]),
        "recurrent": recurrent_logits(models.recurrent, latents, some),
    }
    if models.teachers:
        found["teachers"] = averaged_answers(models.teachers, alerts.inputs[some.judged]).clamp(min=1e-9).log()
    return found


PROTOCOL: Final = (
    "real alerts, folds by object; encoder, heads and temperature of a fold saw no label of it; settings were chosen "
    "beforehand by hand, on other folds of the same objects"
)


def _scores(logits: Logits, some: Sequences, fold: NDArray[np.int64], first: NDArray[np.bool_]) -> dict[str, Any]:
    found: dict[str, Any] = {"protocol": PROTOCOL}
    true = some.label.numpy()
    for name, answer in logits.items():
        cooled = answer.clone()
        for place in np.unique(fold):
            others = torch.from_numpy(fold != place)
            cooled[fold == place] /= _temperature(answer[others], some.only(others))
        probability = cooled.double().softmax(1).numpy()
        for rows, which in ((first, "first_alert"), (np.ones_like(first), "every_alert")):
            found[f"{name}_{which}"] = score(true[rows], probability[rows]).to_dict()
    return found


def _temperature(logits: torch.Tensor, some: Sequences) -> float:
    return temperature(logits, some.label, some.weight)


def _weights(alerts: Alerts, rows: NDArray[np.int64], serving: Serving) -> torch.Tensor:
    """(len(rows),) float32: alerts of one object share its weight, classes are balanced, simulation is held down."""
    real = ~alerts.simulated[rows]
    label = torch.from_numpy(alerts.table.label[rows])
    _, inverse, repeats = np.unique(alerts.table.object_id[rows], return_inverse=True, return_counts=True)
    share = torch.from_numpy(1 / repeats[inverse])
    weight = torch.zeros(len(rows), dtype=torch.float64)
    for kind, part in ((real, 1 - serving.simulated), (~real, serving.simulated)):
        if kind.any():
            weight[kind] = balanced(label[kind], share[kind], serving.balance) * part / kind.sum()
    return (weight / weight.mean()).float()


def _marked(sky: Observed, place: int) -> Observed:
    columns = {name: getattr(sky, name) for name in Observed.__dataclass_fields__}
    mark = f"{SIMULATED}{place} "
    return Observed(**(columns | {name: np.char.add(mark, columns[name]) for name in ("object_id", "key")}))
