"""One run of an experiment, from data to figures: both protocols, and everything needed to read it later."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model_zoo.classifier.encoder import freeze
from train.baselines.dataset import SplitTensors
from train.baselines.fit import (
    Fit,
    answers,
    classifying_model,
    fit_classifier,
    fit_reconstruction,
    reconstructing_model,
    split_latents,
)
from train.data.pickle_layouts import PICKLE_LAYOUTS
from train.data.stamp_set import StampSource
from train.experiments.bounds import RECONSTRUCTING
from train.experiments.experiment import Experiment, ExperimentError, altered, changed
from train.files import write_arrays, write_json
from train.training.loop import Watching, load_last, unwatched
from train.training.probe import Latents, ProbeSchedule, converged_probe, pca_probe, pooled_probe
from train.training.provenance import CONFIG, DATA, PREDICTIONS, SUMMARY, environment
from train.training.scores import bootstrap_interval, clustering, over_seeds, score

HELD: Final = ("validation", "test")
MAY_CHANGE: Final = ("epochs", "patience", "seeds", "probe_epochs", "title", "reference", "name")
MAY_GROW: Final = ("epochs", "patience")
"""Of what may change: what was learned for longer cannot be unlearned."""
Protocol = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run. summary: as in summary.json. fit, probability (N, classes) by split: of the first seed."""

    summary: Protocol
    fit: Fit
    probability: Mapping[str, NDArray[np.float64]]


def run(
    experiment: Experiment, material: SplitTensors, source: StampSource, folder: Path, watching: Watching = unwatched
) -> Outcome:
    """Fit `experiment` with each of its seeds and write the run's folder; goes on where a run before was stopped.

    A finished run is read, not made again. Raises ExperimentError where the folder holds a run of other settings or
    data, or a longer one: going on would mix the two.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if is_finished(folder, experiment, source):
        return _read(experiment, material, folder)
    write_json(folder / CONFIG, asdict(experiment))
    write_json(folder / "environment.json", environment(material.train.stamps.device))
    write_json(folder / DATA, asdict(source) | {"examples": {name: len(material.split(name)) for name in HELD}})
    runs = [
        _one_seed(changed(experiment, {"seed": experiment.seed + place}), material, folder, watching)
        for place in range(experiment.seeds)
    ]
    fit, probability = runs[0]
    figures, pooled = parity(experiment, material, fit, watching)
    unlike = altered(experiment) or other_data(experiment, material)
    watching("principal components, clusters, intervals", 1)
    summary = {
        "run": experiment.run,
        "title": experiment.title,
        "kind": experiment.kind,
        "settings": asdict(experiment),
        "source": asdict(source),
        "parity": figures,
        "pooled": pooled,
        "reference": {} if unlike else dict(experiment.reference),
        "unlike": unlike,
        "honest": honest(material, [each for _, each in runs], experiment.seed),
        "baseline": baseline(experiment, material),
        "clustering": clusters(material, fit, experiment.seed),
        "rows": len(material.train),
        "epochs": [len(each.progress.records) for each, _ in runs],
    }
    write_json(folder / SUMMARY, summary)
    _save_predictions(folder, material, fit, [each for _, each in runs])
    return Outcome(summary, fit, probability)


def is_finished(folder: Path, experiment: Experiment, source: StampSource) -> bool:
    """Whether `folder` has the summary of this very run, as long as is asked for. Raises ExperimentError as `run`."""
    _check_same(folder, experiment, source)
    summary = _read_json(folder / SUMMARY)
    asked = json.loads(json.dumps({"settings": asdict(experiment), "source": asdict(source)}))
    return all(summary.get(key) == value for key, value in asked.items())


def other_data(experiment: Experiment, material: SplitTensors) -> str:
    """Why no figure on this data stands beside the seed's, in words; empty where it may."""
    known = PICKLE_LAYOUTS[experiment.layout]
    if material.classes != known.classes:
        return f"the classes are {', '.join(material.classes)}, not {', '.join(known.classes)}"
    length = material.train.stamps.shape[1] if experiment.kind == "sequence" else known.length
    return "" if length == known.length else f"the sequences are of {length} stamps, not {known.length}"


def parity(
    experiment: Experiment, material: SplitTensors, fit: Fit, watching: Watching = unwatched
) -> tuple[dict[str, float], list[list[int]]]:
    """The seed's own figures by the seed's own protocol, in its units: percent, and losses per pixel.

    And the matrix of its linear probe, truth on rows, pooled over the probe's epochs; empty where it had none.
    """
    records = fit.progress.records
    model = _kept(experiment, material, fit)
    if experiment.kind not in RECONSTRUCTING:
        found = score(material.test.true, _softmax(answers(model, material.test)))
        return {"test_accuracy": 100 * found.accuracy, "test_f1": 100 * found.f1}, []
    if experiment.loss == "rmse":
        return {"rmse_first": records[0]["train"], "rmse_last": records[-1]["train"]}, []
    latents = {
        name: Latents(split_latents(model, material.split(name)), material.split(name).label)
        for name in ("train", "validation")
    }
    probe = ProbeSchedule(experiment.probe_epochs, experiment.probe_batch, experiment.probe_rate)
    generator = torch.Generator().manual_seed(experiment.seed)
    torch.manual_seed(experiment.seed)
    watch, classes = watching("linear probe", 2 * experiment.probe_epochs), len(material.classes)
    _, pooled = pooled_probe(latents["train"], latents["validation"], probe, classes, generator, watch)
    right, asked, said = np.diag(pooled), pooled.sum(axis=1), pooled.sum(axis=0)
    figures = {
        "precision": 100 * float((right / np.maximum(said, 1)).mean()),
        "recall": 100 * float((right / np.maximum(asked, 1)).mean()),
        "f1": 100 * float((2 * right / np.maximum(asked + said, 1)).mean()),
        "mse": float(np.mean([record["train"] - record.get("divergence", 0.0) for record in records])),
    }
    if experiment.kind == "vae":
        figures["divergence"] = float(np.mean([record["divergence"] for record in records]))
    return figures, pooled.tolist()


def honest(
    material: SplitTensors, runs: list[Mapping[str, NDArray[np.float64]]], seed: int
) -> dict[str, dict[str, Any]]:
    """Best weights on validation and test: mean and deviation over the seeds, and an interval over the objects.

    The interval is of that mean: it holds what other objects would change, the deviation what other seeds would.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in HELD:
        true, group = material.split(name).true, material.split(name).group
        scores = [score(true, run[name]).to_dict() for run in runs]
        found[name] = {key: over_seeds([one[key] for one in scores]) for key in scores[0]}
        probability = np.stack([run[name] for run in runs])
        low, high = bootstrap_interval(true, probability, np.random.default_rng(seed), group)
        found[name]["f1"] |= {"low": low, "high": high}
    return found


def baseline(experiment: Experiment, material: SplitTensors) -> dict[str, dict[str, float]]:
    """A converged logistic regression on as many principal components of the pixels as the latent is long."""
    fit = material.train.stamps.flatten(1).cpu().numpy()
    found = {}
    for name in HELD:
        held = material.split(name)
        answer = pca_probe(
            fit, material.train.true, held.stamps.flatten(1).cpu().numpy(), experiment.latent, len(material.classes)
        )
        found[name] = score(held.true, answer).to_dict()
    return found


def clusters(material: SplitTensors, fit: Fit, seed: int) -> dict[str, dict[str, float]]:
    """How the classes lie in the latent space of the test stamps, nobody having told it of them."""
    latents = split_latents(fit.model, material.test).cpu().numpy().astype(np.float64)
    return clustering(latents, material.test.true, seed)


def _one_seed(
    experiment: Experiment, material: SplitTensors, folder: Path, watching: Watching
) -> tuple[Fit, dict[str, NDArray[np.float64]]]:
    """The fit, and what it answers of the validation and the test; a converged probe is not made again."""
    fit = _fit(experiment, material, folder, watching)
    if experiment.kind not in RECONSTRUCTING:
        return fit, {name: _softmax(answers(fit.model, material.split(name))) for name in HELD}
    path = fit.folder / f"probed-{len(fit.progress.records)}.npz"  # of so many epochs: more are another fit
    if not path.is_file():
        watching(f"seed-{experiment.seed}, converged probe", 1)
        write_arrays(path, _probed(fit, material))
    with np.load(path) as kept:
        return fit, dict(kept)


def _fit(experiment: Experiment, material: SplitTensors, folder: Path, watching: Watching = unwatched) -> Fit:
    fit = fit_reconstruction if experiment.kind in RECONSTRUCTING else fit_classifier
    return fit(experiment, material, folder / f"seed-{experiment.seed}", watching)


def _read(experiment: Experiment, material: SplitTensors, folder: Path) -> Outcome:
    """A finished run: its last epoch is reached, so that to fit it again is to load it."""
    with np.load(folder / PREDICTIONS) as kept:
        probability = {name: kept[f"{name}_probability"][0] for name in HELD}
    return Outcome(_read_json(folder / SUMMARY), _fit(experiment, material, folder), probability)


def _probed(fit: Fit, material: SplitTensors) -> dict[str, NDArray[np.float64]]:
    latents = {name: split_latents(fit.model, material.split(name)).cpu().numpy() for name in ("train", *HELD)}
    true, classes = material.train.true, len(material.classes)
    return {name: converged_probe(latents["train"], true, latents[name], classes) for name in HELD}


def _kept(experiment: Experiment, material: SplitTensors, fit: Fit) -> nn.Module:
    """The model with the weights that the seed's protocol scores."""
    if experiment.keeps == "best":
        return fit.model
    reconstructing = experiment.kind in RECONSTRUCTING
    model = reconstructing_model(experiment) if reconstructing else classifying_model(experiment, material)
    load_last(model, fit.folder)
    return freeze(model.to(next(fit.model.parameters()).device))


def _softmax(logits: torch.Tensor) -> NDArray[np.float64]:
    return logits.double().softmax(dim=1).cpu().numpy()


def _save_predictions(
    folder: Path, material: SplitTensors, fit: Fit, runs: list[Mapping[str, NDArray[np.float64]]]
) -> None:
    """What `compare` and the figures need: truth, objects, probabilities (S, N, C), test latents of the first seed."""
    arrays: dict[str, NDArray[Any]] = {f"{name}_label": material.split(name).true for name in HELD}
    arrays |= {f"{name}_probability": np.stack([run[name] for run in runs]) for name in HELD}
    groups = {f"{name}_group": material.split(name).group for name in HELD}
    arrays |= {name: group for name, group in groups.items() if group is not None}
    latents = split_latents(fit.model, material.test).cpu().numpy()
    write_arrays(folder / PREDICTIONS, {"test_latents": latents} | arrays)


def _read_json(path: Path) -> dict[str, Any]:
    """What `path` holds; nothing where there is no such file."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _check_same(folder: Path, experiment: Experiment, source: StampSource) -> None:
    """More epochs, patience or seeds of a run begun before are a continuation; any other change is another run."""
    for name, now in ((CONFIG, asdict(experiment)), (DATA, asdict(source))):
        before = _read_json(folder / name)
        for key, value in json.loads(json.dumps(now)).items():
            same = key not in before or before[key] == value
            if not same and (key not in MAY_CHANGE or (key in MAY_GROW and value < before[key])):
                raise ExperimentError(
                    f"{folder} holds a run with {key} = {before[key]!r}, and {value!r} is asked for; give another --out"
                )
