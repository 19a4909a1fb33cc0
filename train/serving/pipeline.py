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
from train.serving.card import card, of_interest, own_scores
from train.serving.dataset import Alerts, Folds
from train.serving.evaluate import OwnSplit, judge_own, sequence_scores
from train.serving.fit import Encoders, Models, ServingConfig, fit_models
from train.serving.model_selection import (
    HeldOut,
    Probabilities,
    Say,
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
    own: validation and test of the stamps given.
    """

    checkpoints: list[Checkpoint]
    alerts: Alerts
    folds: Folds
    models: Models
    held: HeldOut
    probabilities: Probabilities
    lengths: Mapping[str, Mapping[str, Mapping[str, float]]]
    own: Mapping[str, OwnSplit]


def fit_served(
    experiment: ServingExperiment,
    serving: ServingConfig,
    alerts: Alerts,
    own: Mapping[str, AlertTable],
    encoders: Encoders,
    data: Mapping[str, Any],
    say: Say,
) -> ServedModels:
    """Cross-validate, then fit on all but some simulated objects: the checkpoints that serve, scores in their cards.

    own: validation and test of the stamps given, scored last. data: of the card, as it describes what was trained on.
    """
    folds = Folds.of(alerts, experiment.folds, experiment.seed)
    plan = choose_encoder(alerts, folds, serving, experiment.search, encoders, say)
    columned = experiment.metadata and _has_metadata(alerts)
    if experiment.metadata and not columned:
        say("some alerts to judge have no metadata: no second model is made that sees it")
    fused = choose_head(alerts, folds, plan, experiment.search, encoders, say) if columned else None
    alerts = alerts.seen(plan.final.preprocessing)
    held = held_out(alerts, folds, plan, fused, encoders, say)
    probabilities = calibrated(alerts, folds, held.logits)
    found = scores(alerts, folds, probabilities)
    say(SERVED)
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
    judged = judge_own(models, own, plan.final.preprocessing)
    parts = (plan.final.preprocessing, CLASSES, plan.final.config, models.encoder)
    made = []
    for name, chosen in (("mlp", plan), ("fused", fused)):
        if chosen:
            shown = of_interest(found, name) | (own_scores(judged) if name == "mlp" else {}) | lengths
            run = experiment.run if name == "mlp" else f"{experiment.run}-{METADATA}"
            made.append(Checkpoint(run, *parts, heads[name], models.recurrent, card(shown, chosen, data)))
    return ServedModels(made, alerts, folds, models, held, probabilities, lengths, judged)


def simulated_held(alerts: Alerts, serving: ServingConfig) -> NDArray[np.bool_]:
    """(S,): the sequences of the simulated objects, one in seven, that no model learns from."""
    groups = alerts.groups[alerts.sequences.judged.numpy()]
    simulated = np.unique(groups[~alerts.judged_real])
    chosen = np.random.default_rng(serving.seed).random(len(simulated)) < 1 / 7
    return np.isin(groups, simulated[chosen])


def _has_metadata(alerts: Alerts) -> bool:
    """Whether every labelled alert of the folds has some: a score of metadata among alerts without it says little."""
    judged = alerts.table.only(~alerts.simulated & alerts.table.labelled)
    return bool(np.isfinite(judged.metadata).any(axis=1).all())
