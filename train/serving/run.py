"""A run of `estampa-serve`: archives and stamps in, a folder with the checkpoint, its scores and its report out."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.checkpoint import Checkpoint, load, save
from model_zoo.classes import CLASSES
from model_zoo.preprocess import Preprocessing
from train.experiments.catalogue import altered
from train.experiments.experiment import ExperimentError, ServingExperiment
from train.experiments.run_folder import CONFIG, DATA, PREDICTIONS, SUMMARY, check_data, clear
from train.files import write_arrays, write_json, write_text
from train.serving.card import card_table, described
from train.serving.dataset import build_dataset
from train.serving.encoder import CPU, EncoderTraining
from train.serving.fit import Encoders, ServingConfig
from train.serving.heads import HeadTraining
from train.serving.inputs import TrainingInputs, find_inputs, read_inputs
from train.serving.model_selection import Log, first_alerts
from train.serving.pipeline import METADATA, ServedModels, fit_served
from train.serving.report import write_serve_report
from train.training.loop import METRICS
from train.training.metrics_log import MetricsLog
from train.training.probe import pca_probe
from train.training.provenance import environment
from train.training.scores import bootstrap_interval, clustering, score

CHECKPOINT: Final = "checkpoint"
SOURCE: Final = ("name", "fingerprint", "origin")
PRESCALED: Final = (
    "stamps of a set were scaled to [0, 1] before, how bright a source is cannot be seen: input is minmax for all"
)


def quiet(_: str) -> None:
    """Say nothing."""


def serving_of(experiment: ServingExperiment, normalisation: str = "noise") -> ServingConfig:
    """The settings of a served model that an experiment names."""
    return ServingConfig(
        preprocessing=Preprocessing(experiment.size, experiment.channels, normalisation),
        latent=experiment.latent,
        teachers=experiment.teachers,
        simulated=experiment.simulated,
        seed=experiment.seed,
        encoder=EncoderTraining(steps=experiment.steps),
        heads=HeadTraining(steps=experiment.head_steps),
    )


def run_serving(
    experiment: ServingExperiment,
    paths: Sequence[Path],
    folder: Path,
    log: Log = quiet,
    *,
    origin: str | None = None,
    device: torch.device = CPU,
    umap: bool = True,
    overwrite: bool = False,
) -> list[Checkpoint]:
    """Choose, score, train and write the served models into `folder`: one of images, and one of metadata too.

    origin: of the sets of stamps among `paths`, unstated by default. overwrite: the run in `folder` is removed, once
    the data is read. A run that was stopped goes on: what was fitted is kept by all that its weights depend on. Raises
    ExperimentError where no alert that can be evaluated has a label, or `folder` holds a run on other data.
    """
    files = find_inputs(paths)
    inputs = read_inputs(files, experiment.size, origin)
    if inputs.prescaled:
        log(PRESCALED)
    serving = serving_of(experiment, "minmax" if inputs.prescaled else "noise")
    alerts = build_dataset(inputs.evaluated, inputs.skies, serving.preprocessing)
    data = {"data": described(alerts, files, inputs), "environment": environment(device)}
    source = _source(inputs, data["data"])
    if overwrite:
        clear(folder)
    check_data(folder, source)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SUMMARY).unlink(missing_ok=True)  # it would be of the run before, while this one is under way
    write_json(folder / CONFIG, experiment.settings())
    write_json(folder / "environment.json", data["environment"])
    write_json(folder / DATA, data["data"] | source)
    encoders = Encoders(folder / "encoders", device, MetricsLog(folder / METRICS))
    served = fit_served(experiment, serving, alerts, inputs.holdout, encoders, data, log)
    for checkpoint in served.checkpoints:
        place = folder / METADATA if checkpoint.mlp.config.metadata else folder
        save(checkpoint, place / CHECKPOINT)
        write_text(place / "table.md", card_table(checkpoint))
    if len(served.checkpoints) == 1 and (folder / METADATA).is_dir():
        shutil.rmtree(folder / METADATA)  # of a run before, on other data
    save_predictions(folder / PREDICTIONS, served)
    if {"validation", "test"} <= served.holdout.keys():
        write_json(folder / SUMMARY, summary(experiment, served, source))
    write_serve_report(served, encoders.journal, experiment, folder, umap=umap)
    return served.checkpoints


def summary(experiment: ServingExperiment, served: ServedModels, source: Mapping[str, Any]) -> dict[str, Any]:
    """What `compare` and `scoreboard` read, of a run on a set that has a validation and a test.

    Of one seed there is no deviation. epochs: how often the encoder that serves drew all that it learned from, rounded.
    """
    honest: dict[str, dict[str, dict[str, float | None]]] = {}
    baseline = {}
    learned = served.alerts.table.labelled & ~served.alerts.simulated
    pixels, label = served.alerts.inputs[torch.from_numpy(learned)].flatten(1).numpy(), served.alerts.table.label
    for split, holdout in served.holdout.items():
        probability = holdout.probabilities[holdout.classifier]
        low, high = bootstrap_interval(holdout.label, probability, np.random.default_rng(experiment.seed))
        found = score(holdout.label, probability).to_dict()
        honest[split] = {name: {"mean": value, "sd": None} for name, value in found.items()}
        honest[split]["f1"] |= {"low": low, "high": high}
        principal = pca_probe(pixels, label[learned], holdout.inputs, experiment.latent, len(CLASSES))
        baseline[split] = score(holdout.label, principal).to_dict()
    drawn = experiment.steps * serving_of(experiment).encoder.batch
    test = served.holdout["test"]
    shown = test.scores[test.classifier].to_dict()
    return {
        "run": experiment.run,
        "title": experiment.title,
        "kind": experiment.kind,
        "settings": experiment.settings(),
        "source": dict(source),
        "parity": {f"test_{name}": 100 * shown[name] for name in ("accuracy", "f1")},
        "pooled": [],
        "reference": {},
        "unlike": altered(experiment) or _other_classes(test.label),
        "honest": honest,
        "baseline": baseline,
        "clustering": clustering(test.latents.astype(np.float64), test.label, experiment.seed),
        "rows": int(learned.sum()),
        "epochs": [max(1, round(drawn / int(learned.sum())))],
    }


def _other_classes(label: NDArray[np.int64]) -> str:
    """Why a test says nothing of the lines to beat, which are of all classes, in words; empty where it does."""
    absent = [name for place, name in enumerate(CLASSES) if place not in label]
    return f"the test has no {' and no '.join(absent)}" if absent else ""


def save_predictions(path: Path, served: ServedModels) -> None:
    """Held-out truth, folds, calibrated probabilities and latents; and those of a set's validation and test."""
    rows = served.folds.rows
    arrays: dict[str, NDArray[Any]] = {
        "held_label": served.alerts.sequences.label.numpy()[rows],
        "held_object": served.alerts.objects[rows],
        "held_first": first_alerts(served.alerts, rows),
        "held_length": served.alerts.sequences.lengths.numpy()[rows],
        "held_fold": served.folds.fold,
        "held_latents": served.held.latents.numpy(),
    }
    arrays |= {f"held_{classifier}_probability": one for classifier, one in served.probabilities.items()}
    for split, holdout in served.holdout.items():
        arrays |= {f"{split}_label": holdout.label, f"{split}_probability": holdout.probabilities[holdout.classifier]}
        arrays[f"{split}_latents"] = holdout.latents
    write_arrays(path, arrays)


def export(run: Path, to: Path) -> Checkpoint:
    """Write the checkpoint of a finished run where the consumer finds it, under the name of its folder.

    Raises ExperimentError on a run that has none: the seeds' models have no heads that serve.
    """
    if not (run / CHECKPOINT / "model.json").is_file():
        raise ExperimentError(f"{run} holds no checkpoint that serves; runs of estampa-serve do")
    checkpoint = replace(load(run / CHECKPOINT), name=to.name)
    save(checkpoint, to)
    return load(to)


def _source(inputs: TrainingInputs, data: Mapping[str, Any]) -> dict[str, Any]:
    """The run's data as other runs have it: of sets of stamps where there are any, for they have a test."""
    if inputs.sets:
        return {name: " and ".join(dict.fromkeys(one[name] for one in inputs.sets)) for name in SOURCE}
    names = ", ".join(data["real"] or data["simulated"])
    return {"name": names, "fingerprint": data["fingerprint"], "origin": inputs.origin}
