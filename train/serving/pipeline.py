"""What a run of `estampa-serve` makes of its alerts: models that serve, and how they and their folds did."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.checkpoint import Checkpoint
from model_zoo.classes import CLASSES
from train.data.alert_table import AlertTable
from train.experiments.experiment import ServingExperiment
from train.serving.card import card, holdout_scores, of_interest
from train.serving.dataset import Folds, ServingDataset
from train.serving.evaluate import HoldoutSplit, evaluate_holdout, sequence_scores
from train.serving.fit import Encoders, Models, ServingConfig, fit_models
from train.serving.model_selection import (
    HeldOut,
    Log,
    Probabilities,
    by_length,
    calibrated,
    choose_encoder,
    choose_head,
    fit_fused,
    held_out,
    scores,
    served_temperature,
)

METADATA = "metadata"
SERVED = "the model that serves"


@dataclass(frozen=True, slots=True)
class ServedModels:
    """checkpoints: of images, and of metadata too where there is any. alerts: as the models see them.

    held, probabilities: of the folds' sequences, calibrated. lengths: scores by length, real and simulated.
    holdout: validation and test of the sets of stamps.
    """

    checkpoints: list[Checkpoint]
    alerts: ServingDataset
    folds: Folds
    models: Models
    held: HeldOut
    probabilities: Probabilities
    lengths: Mapping[str, Mapping[str, Mapping[str, float]]]
    holdout: Mapping[str, HoldoutSplit]


def fit_served(
    experiment: ServingExperiment,
    serving: ServingConfig,
    alerts: ServingDataset,
    holdout: Mapping[str, AlertTable],
    encoders: Encoders,
    data: Mapping[str, Any],
    log: Log,
) -> ServedModels:
    """Cross-validate, then fit on all but some simulated objects: the checkpoints that serve, scores in their cards.

    holdout: validation and test of the sets of stamps, scored last. data: of the card, see `described`.
    """
    folds = Folds.of(alerts, experiment.folds, experiment.seed)
    plan = choose_encoder(alerts, folds, serving, experiment.search, encoders, log)
    columned = experiment.metadata and _has_metadata(alerts)
    if experiment.metadata and not columned:
        log("some alerts of the folds have no metadata: no second model is made that sees it")
    fused = choose_head(alerts, folds, plan, experiment.search, encoders, log) if columned else None
    alerts = alerts.seen(plan.final.preprocessing)
    held = held_out(alerts, folds, plan, fused, encoders, log)
    probabilities = calibrated(alerts, folds, held.logits)
    found = scores(alerts, folds, probabilities)
    log(SERVED)
    whole = encoders.at(SERVED)
    apart = simulated_held(alerts, plan.final)
    models = fit_models(alerts, plan.final, np.flatnonzero(apart), whole)
    lengths = {"real_sequences": by_length(alerts, folds, held.logits)}
    if apart.any():
        lengths["simulated_sequences"] = sequence_scores(models, alerts, apart, plan.final)
    heads = {"mlp": models.mlp}
    if fused:
        heads["fused"] = fit_fused(alerts, alerts.without(np.flatnonzero(apart)), models.mlp, fused.final, whole)
    for name, head in heads.items():
        head.temperature.fill_(served_temperature(alerts, folds, held.logits[name]))
    models.recurrent.temperature.fill_(served_temperature(alerts, folds, held.logits["recurrent"]))
    evaluated = evaluate_holdout(models, holdout, plan.final.preprocessing)
    parts = (plan.final.preprocessing, CLASSES, plan.final.config, models.encoder)
    made = []
    for name, chosen in (("mlp", plan), ("fused", fused)):
        if chosen:
            shown = of_interest(found, name) | (holdout_scores(evaluated) if name == "mlp" else {}) | lengths
            run = experiment.run if name == "mlp" else f"{experiment.run}-{METADATA}"
            made.append(Checkpoint(run, *parts, heads[name], models.recurrent, card(shown, chosen, data)))
    return ServedModels(made, alerts, folds, models, held, probabilities, lengths, evaluated)


def simulated_held(alerts: ServingDataset, serving: ServingConfig) -> NDArray[np.bool_]:
    """(S,): the sequences of the simulated objects, one in seven, that no model learns from."""
    groups = alerts.groups[alerts.sequences.last_rows.numpy()]
    simulated = np.unique(groups[~alerts.ends_in_real])
    chosen = np.random.default_rng(serving.seed).random(len(simulated)) < 1 / 7
    return np.isin(groups, simulated[chosen])


def _has_metadata(alerts: ServingDataset) -> bool:
    """Whether every labelled alert of the folds has some: a score of metadata among alerts without it says little."""
    evaluated = alerts.table.only(~alerts.simulated & alerts.table.labelled)
    return bool(np.isfinite(evaluated.metadata).any(axis=1).all())
