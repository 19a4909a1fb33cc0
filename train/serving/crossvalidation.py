"""The score of what serves: every real object judged by models that saw no label of its fold."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.metadata import metadata_input
from train.serving.dataset import Alerts
from train.serving.encoder import averaged_answers
from train.serving.fit import Encoders, Models, Serving, fit_models
from train.serving.folds import Folds
from train.serving.heads import mean_of_alerts, mlp_logits, recurrent_logits, temperature, view_latents
from train.serving.model_selection import Plan, Say, fit_fused
from train.serving.sequence import LENGTHS, Sequences
from train.training.scores import bootstrap_interval, score

Logits = dict[str, torch.Tensor]
Probabilities = dict[str, NDArray[np.float64]]
JUDGES: Final = {
    "mlp": "the image head, one pass",
    "eight_views": "the image head's mean over the eight views of a stamp",
    "teachers": "the networks that the encoder was distilled from, eight views",
    "fused": "the head that sees metadata too",
    "recurrent": "the recurrent head",
    "mean": "the mean of the image head's probabilities over the object's alerts so far",
}


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Of every real sequence, by models that saw no label of its fold. logits: (R, classes) by judge.

    latents: (R, L) of the alert that it ends in, by the encoder of its fold: of one fold they are of one space.
    """

    logits: Logits
    latents: torch.Tensor


def held_out(alerts: Alerts, folds: Folds, plan: Plan, fused: Plan | None, encoders: Encoders, say: Say) -> HeldOut:
    """What each fold's models, fitted here, say of its sequences."""
    found, latents = Logits(), torch.zeros(len(folds.rows), plan.final.latent)
    for place, serving in enumerate(plan.outer):
        out = folds.within((place,))
        seen = alerts.seen(serving.preprocessing) if serving.preprocessing != plan.final.preprocessing else alerts
        fold = encoders.at("fold").without((place,))
        models = fit_models(seen, serving.without((place,)), out, fold)
        answered = answers(models, seen, out)
        if fused:
            answered["fused"] = _fused_logits(seen, out, models, fused.outer[place].without((place,)), fold)
        judged = seen.inputs[seen.sequences.judged[out]]
        latents[folds.fold == place] = view_latents(models.encoder, judged, (0,))[:, 0]
        for name, logits in answered.items():
            found.setdefault(name, torch.zeros(len(folds.rows), logits.shape[1]))[folds.fold == place] = logits
        first, label = first_alerts(alerts, out), alerts.sequences.label.numpy()[out]
        told = {name: score(label[first], _probability(logits[first])).f1 for name, logits in answered.items()}
        say(f"fold {place + 1} held out: " + ", ".join(f"{name} {f1:.3f}" for name, f1 in told.items()))
        rounded = {name: round(f1, 4) for name, f1 in told.items()}
        encoders.journal.note(f"fold {place + 1}", {"stage": "score of first alerts, macro-F1", "scores": rounded})
    return HeldOut(found, latents)


def answers(models: Models, alerts: Alerts, out: NDArray[np.int64]) -> Logits:
    """Logits (len(out), classes) of the chosen sequences by every judge of images."""
    some = alerts.sequences.only(torch.from_numpy(out))
    rows = torch.unique(some.rows)
    latents = torch.zeros(len(alerts.inputs), 8, models.mlp.config.latent)
    latents[rows] = view_latents(models.encoder, alerts.inputs[rows])
    every = mlp_logits(models.mlp, latents[:, 0]).softmax(1)
    eight = mlp_logits(models.mlp, latents[some.judged].flatten(0, 1)).softmax(1).unflatten(0, (-1, 8))
    found = {
        "mlp": mlp_logits(models.mlp, latents[some.judged, 0]),
        "eight_views": eight.mean(1).log(),
        "recurrent": recurrent_logits(models.recurrent, latents[:, 0], some),
        "mean": mean_of_alerts(every, some).log(),
    }
    if models.teachers:
        found["teachers"] = averaged_answers(models.teachers, alerts.inputs[some.judged]).clamp(min=1e-9).log()
    return found


def calibrated(alerts: Alerts, folds: Folds, logits: Logits) -> Probabilities:
    """(R, classes) by judge. A fold's temperature is that of the other folds' answers, so that calibration too is
    scored on alerts that did not set it; it changes no class.
    """
    some = alerts.sequences.only(torch.from_numpy(folds.rows))
    return {name: _probability(_cooled(answer, some, folds.fold)) for name, answer in logits.items()}


def scores(alerts: Alerts, folds: Folds, probabilities: Probabilities) -> dict[str, Any]:
    """Of each judge: its scores on first and on all alerts, by fold, with an interval over the objects."""
    first = first_alerts(alerts, folds.rows)
    label = alerts.sequences.label.numpy()[folds.rows]
    found: dict[str, Any] = {}
    for name, probability in probabilities.items():
        for rows, which in ((first, "first_alert"), (np.ones_like(first), "every_alert")):
            found[f"{name}_{which}"] = score(label[rows], probability[rows]).to_dict()
        by_fold = [score(label[rows], probability[rows]).f1 for rows in _each(first, folds)]
        low, high = bootstrap_interval(label[first], probability[first], np.random.default_rng(1))
        found[f"{name}_first_alert"] |= {
            "f1_by_fold": [round(f1, 4) for f1 in by_fold],
            "f1_interval": [round(low, 4), round(high, 4)],
        }
    return found


def by_length(alerts: Alerts, folds: Folds, logits: Logits) -> dict[str, dict[str, float]]:
    """Macro-F1 on real sequences after so many alerts, beside the mean of the alerts: there are few of them."""
    some = alerts.sequences.only(torch.from_numpy(folds.rows))
    found: dict[str, dict[str, float]] = {}
    for length in LENGTHS:
        rows = (some.lengths == length).numpy()
        if rows.any():
            label = some.label.numpy()[rows]
            told = {name: score(label, _probability(logits[name][rows])).f1 for name in ("recurrent", "mean")}
            found[str(length)] = {"objects": float(rows.sum()), **{name: round(f1, 4) for name, f1 in told.items()}}
    return found


def served_temperature(alerts: Alerts, folds: Folds, logits: torch.Tensor) -> float:
    """That of all held-out answers: what the model that serves is calibrated by."""
    some = alerts.sequences.only(torch.from_numpy(folds.rows))
    return temperature(logits, some.label, some.weight)


def _fused_logits(
    alerts: Alerts, out: NDArray[np.int64], models: Models, serving: Serving, encoders: Encoders
) -> torch.Tensor:
    head = fit_fused(alerts, alerts.without(out), models.mlp, serving, encoders)
    judged = alerts.sequences.judged[out]
    seen = torch.from_numpy(metadata_input(alerts.table.metadata[judged], head.config.metadata))
    with torch.inference_mode():
        logits: torch.Tensor = head(models.encoder(alerts.inputs[judged]), seen)
    return logits.clone()


def _cooled(answer: torch.Tensor, some: Sequences, fold: NDArray[np.int64]) -> torch.Tensor:
    cooled = answer.clone()
    for place in np.unique(fold):
        others = torch.from_numpy(fold != place)
        known = some.only(others)
        cooled[fold == place] /= temperature(answer[others], known.label, known.weight)
    return cooled


def _each(first: NDArray[np.bool_], folds: Folds) -> list[NDArray[np.bool_]]:
    return [first & (folds.fold == place) for place in range(folds.count)]


def first_alerts(alerts: Alerts, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(len(rows),): whether a sequence ends in the first alert of its object."""
    found: NDArray[np.bool_] = alerts.table.first_of_object[alerts.sequences.judged.numpy()[rows]]
    return found


def _probability(logits: torch.Tensor) -> NDArray[np.float64]:
    probability: NDArray[np.float64] = logits.double().softmax(1).numpy()
    return probability
