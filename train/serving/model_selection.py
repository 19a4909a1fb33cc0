"""Nested cross-validation: settings are chosen on folds beside the one that is scored, by models that saw neither."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from model_zoo.classifier.encoder import Supervised
from model_zoo.classifier.mlp import Mlp
from model_zoo.metadata import Column, metadata_input
from model_zoo.preprocess import Preprocessing
from train.serving.dataset import Folds, Held, Sequences, ServingDataset, balanced
from train.serving.encoder import mean_probabilities
from train.serving.fit import Encoders, Models, ServingConfig, fit_models, metadata_table
from train.serving.heads import (
    KINDS,
    fit_columns,
    fit_members,
    folded,
    mean_of_alerts,
    members_logits,
    mlp_logits,
    recurrent_logits,
    temperature,
    view_latents,
)
from train.training.scores import bootstrap_interval, f1_by_length, score

FoldLogits = dict[tuple[int, int], torch.Tensor]
"""(outer, inner) → logits of the inner fold's sequences, by a model that saw neither of the two."""
Log = Callable[[str], None]

SHARES: Final = (0.2, 0.35, 0.5, 0.65)
TAUGHT: Final = (("labels",), ("forest",), KINDS)


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """outer: the settings that serve each fold's score. final: those of the model that serves, chosen on all folds."""

    outer: tuple[ServingConfig, ...]
    final: ServingConfig


def encoder_candidates(serving: ServingConfig, steps: int) -> list[ServingConfig]:
    """What is tried for the encoder, at `steps` of training: its input, and how much of it is simulated.

    Where `serving` says minmax, stamps were scaled before, and their noise is not to be had.
    """
    trial = replace(serving.encoder, steps=steps)
    settings = [("noise", 0.5), ("noise", 0.8), ("minmax", 0.5)]
    if serving.preprocessing.normalisation == "minmax":
        settings = [("minmax", 0.5), ("minmax", 0.8)]
    bare, cut = replace(serving, teachers=0, encoder=trial), serving.preprocessing
    return [
        replace(bare, preprocessing=Preprocessing(cut.size, cut.channels, normalisation), simulated=simulated)
        for normalisation, simulated in settings
    ]


def choose_encoder(
    alerts: ServingDataset, folds: Folds, serving: ServingConfig, steps: int, encoders: Encoders, log: Log
) -> EncoderChoice:
    """Input and share of simulation for each fold, from short fits. With no `steps`, the settings of `serving`."""
    candidates = encoder_candidates(serving, steps) if steps else [serving]
    if serving.preprocessing.normalisation == "minmax" and not alerts.simulated.any():
        candidates = [serving]  # a share of what is not there is no choice
    logits = []
    for number, candidate in enumerate(candidates if len(candidates) > 1 else []):
        log(f"trial {number + 1} of {len(candidates)}: {candidate.preprocessing.normalisation}, {candidate.simulated}")
        seen = alerts.seen(candidate.preprocessing)
        logits.append(_encoder_logits(seen, folds, candidate, encoders.at(f"trial {number + 1}")))
    whole = [replace(one, encoder=serving.encoder, teachers=serving.teachers) for one in candidates]
    return _plan([whole] * (folds.count + 1), _best(alerts, folds, logits))


def choose_head(
    alerts: ServingDataset, folds: Folds, plan: EncoderChoice, steps: int, encoders: Encoders, log: Log
) -> EncoderChoice:
    """For each fold: what the head that sees metadata learned from, and the image head's share, from the short fits."""
    settings = [(kinds, share) for kinds in TAUGHT for share in SHARES]
    logits: list[FoldLogits] = [{} for _ in settings]
    for pair in folds.pairs():
        log(f"head without folds {pair[0] + 1} and {pair[1] + 1}")
        for serving in dict.fromkeys(plan.outer[outer] for outer in pair):
            trial = replace(serving, teachers=0, encoder=replace(serving.encoder, steps=steps or serving.encoder.steps))
            seen = alerts.seen(serving.preprocessing)
            logits_of = _head_logits(seen, folds, pair, trial, encoders.at("trial of the head"))
            for place, (kinds, share) in enumerate(settings):
                metadata = torch.stack([logits_of[kind] for kind in kinds]).mean(0)
                blended = _by_fold(folds, pair, share * logits_of["image"] + (1 - share) * metadata)
                logits[place] |= {key: blended[key] for key in blended if plan.outer[key[0]] == serving}
    changed = [
        [replace(one, columns=replace(one.columns, kinds=kinds), share=share) for kinds, share in settings]
        for one in (*plan.outer, plan.final)
    ]
    return _plan(changed, _best(alerts, folds, logits))


def fit_fused(
    alerts: ServingDataset, kept: NDArray[np.bool_], image: Mlp, serving: ServingConfig, encoders: Encoders
) -> Mlp:
    """The head that sees metadata, from the real labelled alerts that are `kept` (N,) and an image head of the same."""
    members, columns = _members(alerts, kept, serving, encoders)
    return folded(image, members, columns, serving.share)


def balanced_nll(logits: torch.Tensor, label: torch.Tensor, weight: torch.Tensor) -> float:
    """Cross entropy at the best temperature, classes counting alike: steadier for a choice than a score of classes."""
    even = balanced(label, weight)
    cooled = logits / temperature(logits, label, even)
    return float((F.cross_entropy(cooled, label, reduction="none") * even).mean())


def _plan(candidates: Sequence[Sequence[ServingConfig]], best: Sequence[int]) -> EncoderChoice:
    *outer, final = [some[place] for some, place in zip(candidates, best, strict=True)]
    return EncoderChoice(tuple(outer), final)


def _best(alerts: ServingDataset, folds: Folds, candidates: Sequence[FoldLogits]) -> list[int]:
    """The candidate of least regret for each outer fold by its inner ones, and last by all."""
    keys = [(outer, inner) for outer in range(folds.count) for inner in folds.inner(outer)]
    looks = [[key for key in keys if key[0] == outer] for outer in range(folds.count)]
    return [_least(alerts, folds, candidates, look) for look in (*looks, keys)]


def _least(
    alerts: ServingDataset, folds: Folds, candidates: Sequence[FoldLogits], keys: Sequence[tuple[int, int]]
) -> int:
    if len(candidates) < 2:
        return 0
    some = alerts.sequences.only(torch.from_numpy(np.concatenate([folds.within((inner,)) for _, inner in keys])))
    pooled = [torch.cat([found[key] for key in keys]) for found in candidates]
    return int(np.argmin([balanced_nll(logits, some.label, some.weight) for logits in pooled]))


def _encoder_logits(alerts: ServingDataset, folds: Folds, serving: ServingConfig, encoders: Encoders) -> FoldLogits:
    found: FoldLogits = {}
    for pair in folds.pairs():
        apart = encoders.without(pair)
        model, _ = apart.fit(alerts, serving.without(pair), alerts.without(folds.within(pair)))
        found |= _by_fold(folds, pair, _image_logits(model, alerts, folds, pair))
    return found


def _by_fold(folds: Folds, pair: Held, logits: torch.Tensor) -> FoldLogits:
    """Logits of a pair's sequences for each fold, by the other."""
    fold = folds.fold[np.isin(folds.fold, pair)]
    return {(outer, inner): logits[fold == inner] for outer, inner in (pair, pair[::-1])}


def _image_logits(model: Supervised, alerts: ServingDataset, folds: Folds, pair: Held) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(alerts.inputs[alerts.sequences.last_rows[folds.within(pair)]])
    return logits.clone()


def _head_logits(
    alerts: ServingDataset, folds: Folds, pair: Held, serving: ServingConfig, encoders: Encoders
) -> dict[str, torch.Tensor]:
    """Logits of a pair's sequences by what learned from images, and by members of each kind; none saw the pair."""
    apart, out = serving.without(pair), folds.within(pair)
    kept = alerts.without(out)
    encoders = encoders.without(pair)
    members, columns = _members(alerts, kept, apart, encoders)
    seen = torch.from_numpy(metadata_input(alerts.table.metadata[alerts.sequences.last_rows[out]], columns))
    each = apart.columns.members
    parts = {kind: members[place * each : (place + 1) * each] for place, kind in enumerate(apart.columns.kinds)}
    model, _ = encoders.fit(alerts, apart, kept)
    found = {kind: members_logits(some, seen) for kind, some in parts.items()}
    return found | {"image": _image_logits(model, alerts, folds, pair)}


def _members(
    alerts: ServingDataset, kept: NDArray[np.bool_], serving: ServingConfig, encoders: Encoders
) -> tuple[list[nn.Sequential], tuple[Column, ...]]:
    """Members that see metadata alone, from what is `kept` (N,), and their columns."""
    table = metadata_table(alerts, kept, serving)
    columns = fit_columns(table.values)
    members, curves = fit_members(table, columns, serving.columns, serving.generator)
    losses = {f"member {place}" if place > 1 else "member": curve for place, curve in enumerate(curves, start=1)}
    name = f"members-{serving.digest(heads=True)}-{'-'.join(serving.columns.kinds)}-{alerts.fingerprint(kept)}"
    encoders.journal.note(name, {**encoders.about, "loss": losses})
    return members, columns


Logits = dict[str, torch.Tensor]
Probabilities = dict[str, NDArray[np.float64]]
CLASSIFIERS: Final = {
    "mlp": "the image head, one pass",
    "eight_views": "the image head's mean over the eight views of a stamp",
    "teachers": "the networks that the encoder was distilled from, eight views",
    "fused": "the head that sees metadata too",
    "recurrent": "the recurrent head",
    "mean": "the mean of the image head's probabilities over the object's alerts so far",
}


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Of every real sequence, by models that saw no label of its fold. logits: (R, classes) by classifier.

    latents: (R, L) of the alert that it ends in, by the encoder of its fold: of one fold they are of one space.
    """

    logits: Logits
    latents: torch.Tensor


def held_out(
    alerts: ServingDataset, folds: Folds, plan: EncoderChoice, fused: EncoderChoice | None, encoders: Encoders, log: Log
) -> HeldOut:
    """The predictions of each fold's models, fitted here, for its sequences."""
    found, latents = Logits(), torch.zeros(len(folds.rows), plan.final.latent)
    for place, serving in enumerate(plan.outer):
        out = folds.within((place,))
        seen = alerts.seen(serving.preprocessing) if serving.preprocessing != plan.final.preprocessing else alerts
        fold = encoders.at("fold").without((place,))
        models = fit_models(seen, serving.without((place,)), out, fold)
        predicted = predictions(models, seen, out)
        if fused:
            predicted["fused"] = _fused_logits(seen, out, models, fused.outer[place].without((place,)), fold)
        last_inputs = seen.inputs[seen.sequences.last_rows[out]]
        latents[folds.fold == place] = view_latents(models.encoder, last_inputs, (0,))[:, 0]
        for name, logits in predicted.items():
            found.setdefault(name, torch.zeros(len(folds.rows), logits.shape[1]))[folds.fold == place] = logits
        first, label = first_alerts(alerts, out), alerts.sequences.label.numpy()[out]
        f1_of = {name: score(label[first], _probability(logits[first])).f1 for name, logits in predicted.items()}
        log(f"fold {place + 1} held out: " + ", ".join(f"{name} {f1:.3f}" for name, f1 in f1_of.items()))
        rounded = {name: round(f1, 4) for name, f1 in f1_of.items()}
        encoders.journal.note(f"fold {place + 1}", {"stage": "score of first alerts, macro-F1", "scores": rounded})
    return HeldOut(found, latents)


def predictions(models: Models, alerts: ServingDataset, out: NDArray[np.int64]) -> Logits:
    """Logits (len(out), classes) of the chosen sequences by every classifier of images."""
    some = alerts.sequences.only(torch.from_numpy(out))
    rows = torch.unique(some.rows)
    latents = torch.zeros(len(alerts.inputs), 8, models.mlp.config.latent)
    latents[rows] = view_latents(models.encoder, alerts.inputs[rows])
    every = mlp_logits(models.mlp, latents[:, 0]).softmax(1)
    eight = mlp_logits(models.mlp, latents[some.last_rows].flatten(0, 1)).softmax(1).unflatten(0, (-1, 8))
    found = {
        "mlp": mlp_logits(models.mlp, latents[some.last_rows, 0]),
        "eight_views": eight.mean(1).log(),
        "recurrent": recurrent_logits(models.recurrent, latents[:, 0], some),
        "mean": mean_of_alerts(every, some).log(),
    }
    if models.teachers:
        found["teachers"] = mean_probabilities(models.teachers, alerts.inputs[some.last_rows]).clamp(min=1e-9).log()
    return found


def calibrated(alerts: ServingDataset, folds: Folds, logits: Logits) -> Probabilities:
    """(R, classes) by classifier. A fold's temperature is that of the other folds' answers, so that calibration too is
    scored on alerts that did not set it; it changes no class.
    """
    some = alerts.sequences.only(torch.from_numpy(folds.rows))
    return {name: _probability(_cooled(answer, some, folds.fold)) for name, answer in logits.items()}


def scores(alerts: ServingDataset, folds: Folds, probabilities: Probabilities) -> dict[str, Any]:
    """Of each classifier: its scores on first and on all alerts, by fold, with an interval over the objects."""
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


def by_length(alerts: ServingDataset, folds: Folds, logits: Logits) -> dict[str, dict[str, float]]:
    """Macro-F1 on real sequences after so many alerts, beside the mean of the alerts: there are few of them."""
    some = alerts.sequences.only(torch.from_numpy(folds.rows))
    probabilities = {name: _probability(logits[name]) for name in ("recurrent", "mean")}
    return f1_by_length(some.lengths.numpy(), some.label.numpy(), probabilities)


def served_temperature(alerts: ServingDataset, folds: Folds, logits: torch.Tensor) -> float:
    """That of all held-out answers: what the model that serves is calibrated by."""
    some = alerts.sequences.only(torch.from_numpy(folds.rows))
    return temperature(logits, some.label, some.weight)


def _fused_logits(
    alerts: ServingDataset, out: NDArray[np.int64], models: Models, serving: ServingConfig, encoders: Encoders
) -> torch.Tensor:
    head = fit_fused(alerts, alerts.without(out), models.mlp, serving, encoders)
    last = alerts.sequences.last_rows[out]
    seen = torch.from_numpy(metadata_input(alerts.table.metadata[last], head.config.metadata))
    with torch.inference_mode():
        logits: torch.Tensor = head(models.encoder(alerts.inputs[last]), seen)
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


def first_alerts(alerts: ServingDataset, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(len(rows),): whether a sequence ends in the first alert of its object."""
    found: NDArray[np.bool_] = alerts.table.first_of_object[alerts.sequences.last_rows.numpy()[rows]]
    return found


def _probability(logits: torch.Tensor) -> NDArray[np.float64]:
    probability: NDArray[np.float64] = logits.double().softmax(1).numpy()
    return probability
