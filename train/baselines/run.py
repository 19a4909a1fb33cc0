"""One run of an experiment, from data to figures: both protocols, and everything needed to read it later."""

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
    classifying_model,
    fit_classifier,
    fit_reconstruction,
    reconstructing_model,
    split_latents,
    split_logits,
)
from train.baselines.progress import CLUSTERS, LINEAR_PROBE
from train.data.pickle_layouts import PICKLE_LAYOUTS
from train.data.stamp_set import StampSource
from train.experiments.catalogue import altered
from train.experiments.experiment import (
    BaselineExperiment,
    ClassificationExperiment,
    ReconstructionExperiment,
    SequenceExperiment,
)
from train.experiments.old_names import present_settings
from train.experiments.run_folder import CONFIG, DATA, PREDICTIONS, SUMMARY, check_data, check_settings, read_json
from train.files import write_arrays, write_json
from train.training.loop import Watching, load_last, unwatched
from train.training.probe import Latents, ProbeSchedule, converged_probe, pca_probe, pooled_probe
from train.training.provenance import environment
from train.training.scores import bootstrap_interval, clustering, over_seeds, score

HELD: Final = ("validation", "test")
Protocol = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run. summary: as in summary.json. fit, probability (N, classes) by split: of the first seed."""

    summary: Protocol
    fit: Fit
    probability: Mapping[str, NDArray[np.float64]]


def run(
    experiment: BaselineExperiment,
    tensors: SplitTensors,
    source: StampSource,
    folder: Path,
    watching: Watching = unwatched,
) -> Outcome:
    """Fit `experiment` with each of its seeds and write the run's folder; goes on where a run before was stopped.

    A finished run is read, not made again. Raises ExperimentError where the folder holds a run of other settings or
    data, or a longer one: going on would mix the two.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if is_finished(folder, experiment, source):
        return _read(experiment, tensors, folder)
    write_json(folder / CONFIG, experiment.settings())
    write_json(folder / "environment.json", environment(tensors.train.stamps.device))
    write_json(folder / DATA, asdict(source) | {"examples": {name: len(tensors.split(name)) for name in HELD}})
    runs = [
        _one_seed(experiment.model_copy(update={"seed": experiment.seed + place}), tensors, folder, watching)
        for place in range(experiment.seeds)
    ]
    fit, probability = runs[0]
    figures, pooled = reference_figures(experiment, tensors, fit, watching)
    unlike = altered(experiment) or other_data(experiment, tensors)
    watching(CLUSTERS, 1)
    summary = {
        "run": experiment.run,
        "title": experiment.title,
        "kind": experiment.kind,
        "settings": experiment.settings(),
        "source": asdict(source),
        "parity": figures,
        "pooled": pooled,
        "reference": {} if unlike else dict(experiment.reference),
        "unlike": unlike,
        "honest": held_out_scores(tensors, [each for _, each in runs], experiment.seed),
        "baseline": baseline(experiment, tensors),
        "clustering": clusters(tensors, fit, experiment.seed),
        "rows": len(tensors.train),
        "epochs": [len(each.progress.records) for each, _ in runs],
    }
    write_json(folder / SUMMARY, summary)
    _save_predictions(folder, tensors, fit, [each for _, each in runs])
    return Outcome(summary, fit, probability)


def is_finished(folder: Path, experiment: BaselineExperiment, source: StampSource) -> bool:
    """Whether `folder` has the summary of this very run, with as many epochs. Raises ExperimentError as `run`."""
    _check_same(folder, experiment, source)
    summary = read_json(folder / SUMMARY)
    before = present_settings(summary.get("settings", {}))
    same = all(before.get(key) == value for key, value in experiment.settings().items())
    return same and summary.get("source") == asdict(source)


def other_data(experiment: BaselineExperiment, tensors: SplitTensors) -> str:
    """Why no figure on this data stands beside the seed's, in words; empty where it may."""
    known = PICKLE_LAYOUTS[experiment.layout]
    if tensors.classes != known.classes:
        return f"the classes are {', '.join(tensors.classes)}, not {', '.join(known.classes)}"
    length = tensors.train.stamps.shape[1] if isinstance(experiment, SequenceExperiment) else known.length
    return "" if length == known.length else f"the sequences are of {length} stamps, not {known.length}"


def reference_figures(
    experiment: BaselineExperiment, tensors: SplitTensors, fit: Fit, watching: Watching = unwatched
) -> tuple[dict[str, float], list[list[int]]]:
    """The seed's own figures by the seed's own protocol, in its units: percent, and losses per pixel.

    And the matrix of its linear probe, truth on rows, pooled over the probe's epochs; empty where it had none.
    """
    records = fit.progress.records
    model = _kept(experiment, tensors, fit)
    if not isinstance(experiment, ReconstructionExperiment):
        found = score(tensors.test.true, _softmax(split_logits(model, tensors.test)))
        return {"test_accuracy": 100 * found.accuracy, "test_f1": 100 * found.f1}, []
    if experiment.loss == "rmse":
        return {"rmse_first": records[0]["train"], "rmse_last": records[-1]["train"]}, []
    latents = {
        name: Latents(split_latents(model, tensors.split(name)), tensors.split(name).label)
        for name in ("train", "validation")
    }
    probe = ProbeSchedule(experiment.probe_epochs, experiment.probe_batch_size, experiment.probe_lr)
    generator = torch.Generator().manual_seed(experiment.seed)
    torch.manual_seed(experiment.seed)
    watch, classes = watching(LINEAR_PROBE, 2 * experiment.probe_epochs), len(tensors.classes)
    _, pooled = pooled_probe(latents["train"], latents["validation"], probe, classes, generator, watch)
    correct, true, predicted = np.diag(pooled), pooled.sum(axis=1), pooled.sum(axis=0)
    figures = {
        "precision": 100 * float((correct / np.maximum(predicted, 1)).mean()),
        "recall": 100 * float((correct / np.maximum(true, 1)).mean()),
        "f1": 100 * float((2 * correct / np.maximum(true + predicted, 1)).mean()),
        "mse": float(np.mean([record["train"] - record.get("divergence", 0.0) for record in records])),
    }
    if experiment.kind == "vae":
        figures["divergence"] = float(np.mean([record["divergence"] for record in records]))
    return figures, pooled.tolist()


def held_out_scores(
    tensors: SplitTensors, runs: list[Mapping[str, NDArray[np.float64]]], seed: int
) -> dict[str, dict[str, Any]]:
    """Best weights on validation and test: mean and deviation over the seeds, and an interval over the objects.

    The interval is of that mean: it holds what other objects would change, the deviation what other seeds would.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in HELD:
        true, group = tensors.split(name).true, tensors.split(name).group
        scores = [score(true, run[name]).to_dict() for run in runs]
        found[name] = {key: over_seeds([one[key] for one in scores]) for key in scores[0]}
        probability = np.stack([run[name] for run in runs])
        low, high = bootstrap_interval(true, probability, np.random.default_rng(seed), group)
        found[name]["f1"] |= {"low": low, "high": high}
    return found


def baseline(experiment: BaselineExperiment, tensors: SplitTensors) -> dict[str, dict[str, float]]:
    """A converged logistic regression on as many principal components of the pixels as the latent is long."""
    fit = tensors.train.stamps.flatten(1).cpu().numpy()
    found = {}
    for name in HELD:
        held = tensors.split(name)
        answer = pca_probe(
            fit, tensors.train.true, held.stamps.flatten(1).cpu().numpy(), experiment.latent, len(tensors.classes)
        )
        found[name] = score(held.true, answer).to_dict()
    return found


def clusters(tensors: SplitTensors, fit: Fit, seed: int) -> dict[str, dict[str, float]]:
    """How the classes lie in the latent space of the test stamps, of a model that was trained without them."""
    latents = split_latents(fit.model, tensors.test).cpu().numpy().astype(np.float64)
    return clustering(latents, tensors.test.true, seed)


def _one_seed(
    experiment: BaselineExperiment, tensors: SplitTensors, folder: Path, watching: Watching
) -> tuple[Fit, dict[str, NDArray[np.float64]]]:
    """The fit, and what it answers of the validation and the test; a converged probe is not made again."""
    fit = _fit(experiment, tensors, folder, watching)
    if not isinstance(experiment, ReconstructionExperiment):
        return fit, {name: _softmax(split_logits(fit.model, tensors.split(name))) for name in HELD}
    path = fit.folder / f"probed-{len(fit.progress.records)}.npz"  # of so many epochs: more are another fit
    if not path.is_file():
        watching(f"seed-{experiment.seed}, converged probe", 1)
        write_arrays(path, _probed(fit, tensors))
    with np.load(path) as kept:
        return fit, dict(kept)


def _fit(experiment: BaselineExperiment, tensors: SplitTensors, folder: Path, watching: Watching = unwatched) -> Fit:
    place = folder / f"seed-{experiment.seed}"
    if isinstance(experiment, ReconstructionExperiment):
        return fit_reconstruction(experiment, tensors, place, watching)
    if isinstance(experiment, ClassificationExperiment):
        return fit_classifier(experiment, tensors, place, watching)
    raise TypeError(f"{type(experiment).__name__} has no fit")


def _read(experiment: BaselineExperiment, tensors: SplitTensors, folder: Path) -> Outcome:
    """A finished run: its last epoch is reached, so that to fit it again is to load it."""
    with np.load(folder / PREDICTIONS) as kept:
        probability = {name: kept[f"{name}_probability"][0] for name in HELD}
    return Outcome(read_json(folder / SUMMARY), _fit(experiment, tensors, folder), probability)


def _probed(fit: Fit, tensors: SplitTensors) -> dict[str, NDArray[np.float64]]:
    latents = {name: split_latents(fit.model, tensors.split(name)).cpu().numpy() for name in ("train", *HELD)}
    true, classes = tensors.train.true, len(tensors.classes)
    return {name: converged_probe(latents["train"], true, latents[name], classes) for name in HELD}


def _kept(experiment: BaselineExperiment, tensors: SplitTensors, fit: Fit) -> nn.Module:
    """The model with the weights that the seed's protocol scores."""
    if experiment.checkpoint == "best":
        return fit.model
    model = _new_model(experiment, tensors)
    load_last(model, fit.folder)
    return freeze(model.to(next(fit.model.parameters()).device))


def _new_model(experiment: BaselineExperiment, tensors: SplitTensors) -> nn.Module:
    if isinstance(experiment, ReconstructionExperiment):
        return reconstructing_model(experiment)
    if isinstance(experiment, ClassificationExperiment):
        return classifying_model(experiment, tensors)
    raise TypeError(f"{type(experiment).__name__} has no model")


def _softmax(logits: torch.Tensor) -> NDArray[np.float64]:
    return logits.double().softmax(dim=1).cpu().numpy()


def _save_predictions(
    folder: Path, tensors: SplitTensors, fit: Fit, runs: list[Mapping[str, NDArray[np.float64]]]
) -> None:
    """What `compare` and the figures need: truth, objects, probabilities (S, N, C), test latents of the first seed."""
    arrays: dict[str, NDArray[Any]] = {f"{name}_label": tensors.split(name).true for name in HELD}
    arrays |= {f"{name}_probability": np.stack([run[name] for run in runs]) for name in HELD}
    groups = {f"{name}_group": tensors.split(name).group for name in HELD}
    arrays |= {name: group for name, group in groups.items() if group is not None}
    latents = split_latents(fit.model, tensors.test).cpu().numpy()
    write_arrays(folder / PREDICTIONS, {"test_latents": latents} | arrays)


def _check_same(folder: Path, experiment: BaselineExperiment, source: StampSource) -> None:
    """More epochs, patience or seeds continue a run; any other change is another run."""
    check_settings(folder, experiment, resume=True)
    check_data(folder, asdict(source))
