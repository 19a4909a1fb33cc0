"""One run of an experiment, from data to figures: both protocols, and everything needed to read it later."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from torch import nn

from model_zoo.encoder import freeze
from train.evaluate import bootstrap_interval, clustering, score
from train.experiment import Experiment, ExperimentError, changed
from train.finished import finished
from train.fits import Fit, answers, fit_classifier, fit_reconstruction, reconstructing_model, split_latents
from train.loop import Watch, load_last
from train.material import Material
from train.probe import Latents, ProbeSchedule, converged_probe, pca_probe, pooled_probe
from train.provenance import code, processor

RECONSTRUCTING: Final = ("autoencoder", "vae", "reconstructor")
HELD: Final = ("validation", "test")
CONFIG: Final = "config.json"
DATA: Final = "data.json"
SUMMARY: Final = "summary.json"
PREDICTIONS: Final = "predictions.npz"
MAY_CHANGE: Final = ("epochs", "patience", "seeds", "probe_epochs", "title", "reference", "name", "origin")
Protocol = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """A run's data. name: of the file. fingerprint: of its content. origin: real, simulated or unstated."""

    name: str
    fingerprint: str
    origin: str = "unstated"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run. summary: as in summary.json. fit: of the first seed. probability: (N, classes) by split."""

    summary: Protocol
    fit: Fit
    probability: Mapping[str, NDArray[np.float64]]


def run(
    experiment: Experiment, material: Material, source: Source, folder: Path, watch: Watch | None = None
) -> Outcome:
    """Fit `experiment` with each of its seeds and write the run's folder; goes on where a run before was stopped.

    Raises ExperimentError where the folder holds a run of other settings or data: going on would mix the two.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_same(folder, experiment, source)
    _write(folder / CONFIG, asdict(experiment))
    _write(folder / "environment.json", environment(material.train.stamps.device))
    _write(folder / DATA, asdict(source) | {"examples": {name: len(material.split(name)) for name in HELD}})
    runs = [
        _one_seed(changed(experiment, {"seed": experiment.seed + place}), material, folder, watch)
        for place in range(experiment.seeds)
    ]
    fit, probability = runs[0]
    figures, pooled = parity(experiment, material, fit)
    summary = {
        "run": experiment.run,
        "title": experiment.title,
        "kind": experiment.kind,
        "source": asdict(source),
        "parity": figures,
        "pooled": pooled,
        "reference": dict(experiment.reference),
        "honest": honest(material, [each for _, each in runs], experiment.seed),
        "baseline": baseline(experiment, material),
        "clustering": clusters(material, fit, experiment.seed),
        "rows": len(material.train),
        "epochs": [len(each.progress.records) for each, _ in runs],
    }
    _write(folder / SUMMARY, summary)
    _save_predictions(folder, material, fit, probability)
    return Outcome(summary, fit, probability)


def parity(experiment: Experiment, material: Material, fit: Fit) -> tuple[dict[str, float], list[list[int]]]:
    """The seed's own figures by the seed's own protocol, in its units: percent, and losses per pixel.

    And the matrix of its linear probe, truth on rows, pooled over the probe's epochs; empty where it had none.
    """
    records = fit.progress.records
    if experiment.kind not in RECONSTRUCTING:
        found = score(material.test.true, _softmax(answers(fit.model, material.test)))
        return {"test_accuracy": 100 * found.accuracy, "test_f1": 100 * found.f1}, []
    if experiment.loss == "rmse":
        return {"rmse_first": records[0]["train"], "rmse_last": records[-1]["train"]}, []
    model = freeze(_last(experiment, fit))
    latents = {
        name: Latents(split_latents(model, material.split(name)), material.split(name).label)
        for name in ("train", "validation")
    }
    probe = ProbeSchedule(experiment.probe_epochs, experiment.probe_batch, experiment.probe_rate)
    generator = torch.Generator().manual_seed(experiment.seed)
    torch.manual_seed(experiment.seed)
    _, pooled = pooled_probe(latents["train"], latents["validation"], probe, len(material.classes), generator)
    right, asked, said = np.diag(pooled), pooled.sum(axis=1), pooled.sum(axis=0)
    figures = {
        "precision": 100 * float((right / np.maximum(said, 1)).mean()),
        "recall": 100 * float((right / np.maximum(asked, 1)).mean()),
        "f1": 100 * float((2 * right / np.maximum(asked + said, 1)).mean()),
        "mse": float(np.mean([record["train"] for record in records])),
    }
    return figures, pooled.tolist()


def honest(material: Material, runs: list[Mapping[str, NDArray[np.float64]]], seed: int) -> dict[str, dict[str, Any]]:
    """Best weights on validation and test: mean and deviation over the seeds, and an interval over the examples."""
    found: dict[str, dict[str, Any]] = {}
    for name in HELD:
        true = material.split(name).true
        scores = [score(true, run[name]).to_dict() for run in runs]
        found[name] = {
            key: {
                "mean": float(np.mean([one[key] for one in scores])),
                "sd": float(np.std([one[key] for one in scores])),
            }
            for key in scores[0]
        }
        low, high = bootstrap_interval(true, runs[0][name], np.random.default_rng(seed))
        found[name]["f1"] |= {"low": low, "high": high}
    return found


def baseline(experiment: Experiment, material: Material) -> dict[str, dict[str, float]]:
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


def clusters(material: Material, fit: Fit, seed: int) -> dict[str, dict[str, float]]:
    """How the classes lie in the latent space of the test stamps, nobody having told it of them."""
    latents = split_latents(fit.model, material.test).cpu().numpy().astype(np.float64)
    return clustering(latents, material.test.true, seed)


def environment(device: torch.device) -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "code": code(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": processor(),
        "threads": str(torch.get_num_threads()),
    }


def _one_seed(
    experiment: Experiment, material: Material, folder: Path, watch: Watch | None
) -> tuple[Fit, dict[str, NDArray[np.float64]]]:
    place = folder / f"seed-{experiment.seed}"
    if experiment.kind not in RECONSTRUCTING:
        fit = fit_classifier(experiment, material, place, watch)
        return fit, {name: _softmax(answers(fit.model, material.split(name))) for name in HELD}
    fit = fit_reconstruction(experiment, material, place, watch)
    return fit, _probed(fit, material)


def _probed(fit: Fit, material: Material) -> dict[str, NDArray[np.float64]]:
    latents = {name: split_latents(fit.model, material.split(name)).cpu().numpy() for name in ("train", *HELD)}
    true, classes = material.train.true, len(material.classes)
    return {name: converged_probe(latents["train"], true, latents[name], classes) for name in HELD}


def _last(experiment: Experiment, fit: Fit) -> nn.Module:
    model = reconstructing_model(experiment).to(next(fit.model.parameters()).device)
    load_last(model, fit.folder)
    return model


def _softmax(logits: torch.Tensor) -> NDArray[np.float64]:
    return logits.double().softmax(dim=1).cpu().numpy()


def _save_predictions(
    folder: Path, material: Material, fit: Fit, probability: Mapping[str, NDArray[np.float64]]
) -> None:
    """What `compare` and the figures need: truth, probabilities and test latents of the first seed."""
    arrays: dict[str, NDArray[Any]] = {f"{name}_label": material.split(name).true for name in HELD}
    arrays |= {f"{name}_probability": probability[name] for name in HELD}
    latents = split_latents(fit.model, material.test).cpu().numpy()
    with finished(folder / PREDICTIONS) as partial, partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, test_latents=latents, **arrays)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with finished(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _check_same(folder: Path, experiment: Experiment, source: Source) -> None:
    """More epochs, patience or seeds of a run begun before are a continuation; any other change is another run."""
    for name, now in ((CONFIG, asdict(experiment)), (DATA, asdict(source))):
        before = json.loads((folder / name).read_text(encoding="utf-8")) if (folder / name).is_file() else {}
        for key, value in json.loads(json.dumps(now)).items():
            if key in before and before[key] != value and key not in MAY_CHANGE:
                raise ExperimentError(
                    f"{folder} holds a run with {key} = {before[key]!r}, and {value!r} is asked for; give another --out"
                )
