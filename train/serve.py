"""A run of `estampa-serve`: archives in, a folder with the checkpoint and its scores out; and its export."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.checkpoint import Checkpoint, load, save
from model_zoo.preprocess import Preprocessing
from model_zoo.taxonomy import CLASSES
from train.experiment import Experiment, ExperimentError
from train.observed import Observed, labels_beside, read_observed
from train.run import environment
from train.sequence_score import sequence_scores
from train.serving import Alerts, Serving, Watch, cross_validate, fit_models, gather
from train.supervised import EncoderTraining

CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Archives:
    """real: archives with `labels.csv` near them, or no labels. skies: simulated nights, those of one sky together."""

    real: tuple[Path, ...]
    skies: tuple[tuple[Path, ...], ...]


def serving_of(experiment: Experiment) -> Serving:
    """The settings of a served model that an experiment names."""
    return Serving(
        preprocessing=Preprocessing(experiment.size, experiment.channels, "noise"),
        latent=experiment.latent,
        teachers=experiment.teachers,
        simulated=experiment.simulated,
        folds=experiment.folds,
        seed=experiment.seed,
        encoder=EncoderTraining(steps=experiment.steps),
    )


def find_archives(paths: Sequence[Path]) -> Archives:
    """Archives under the given files and folders; nights with a truth table beside them are simulated.

    Nights of one folder are of one sky. Raises ExperimentError where there is nothing to read.
    """
    found = [archive for path in paths for archive in _archives(path)]
    if not found:
        raise ExperimentError(f"no archive of alerts in {', '.join(map(str, paths))}; give .tar.gz, .avro or a folder")
    real, skies = [], defaultdict(list)
    for archive in found:
        if _truth(archive).is_file():
            skies[archive.parent].append(archive)
        else:
            real.append(archive)
    return Archives(tuple(real), tuple(tuple(nights) for nights in skies.values()))


def run_serving(experiment: Experiment, paths: Sequence[Path], folder: Path, watch: Watch | None = None) -> Checkpoint:
    """Train, score and write the served model into `folder`. Raises ExperimentError where no real alert has a label."""
    serving = serving_of(experiment)
    archives = find_archives(paths)
    real, *skies = [_read(group, experiment.size) for group in (archives.real, *archives.skies) if group]
    if not archives.real or not real.labelled.any():
        raise ExperimentError("no real alert has a label: put labels.csv (candid, label) beside its archive")
    alerts = gather(real, skies, serving)
    metadata = {"data": described(alerts, archives), "environment": environment(torch.device("cpu"))}
    checkpoint = fit_checkpoint(experiment.run, alerts, serving, metadata, watch)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(experiment), indent=2) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(card_table(checkpoint), encoding="utf-8")
    save(checkpoint, folder / CHECKPOINT)
    return checkpoint


def fit_checkpoint(
    name: str, alerts: Alerts, serving: Serving, metadata: dict[str, Any], watch: Watch | None = None
) -> Checkpoint:
    """Cross-validate, then fit on all but some simulated objects: the checkpoint that serves, its score in its card."""
    scores, temperatures = cross_validate(alerts, serving, watch)
    held = simulated_held(alerts, serving)
    models = fit_models(alerts, serving, held)
    if held.any():
        scores["simulated_sequences"] = sequence_scores(models, alerts, held, serving)
    models.mlp.temperature.fill_(temperatures["mlp"])
    models.recurrent.temperature.fill_(temperatures["recurrent"])
    card = {"held_out": scores, "settings": asdict(serving), **metadata}
    parts = (serving.preprocessing, CLASSES, serving.config, models.encoder, models.mlp, models.recurrent)
    return Checkpoint(name, *parts, card)


def simulated_held(alerts: Alerts, serving: Serving) -> NDArray[np.bool_]:
    """(S,): the sequences of the simulated objects, one in seven, that no model learns from."""
    names = np.unique(alerts.objects[~alerts.judged_real])
    chosen = np.random.default_rng(serving.seed).random(len(names)) < 1 / 7
    return np.isin(alerts.objects, names[chosen])


def export(run: Path, to: Path) -> Checkpoint:
    """Write the checkpoint of a finished run where the consumer finds it, under the name of its folder.

    Raises ExperimentError on a run that has none: the seeds' models have no heads that serve.
    """
    if not (run / CHECKPOINT / "model.json").is_file():
        raise ExperimentError(f"{run} holds no checkpoint that serves; runs of estampa-serve do")
    checkpoint = replace(load(run / CHECKPOINT), name=to.name)
    save(checkpoint, to)
    return load(to)


def described(alerts: Alerts, archives: Archives) -> dict[str, Any]:
    """What was trained on, for the card: counts, names and a fingerprint of (candid, label)."""
    real = alerts.table.only(~alerts.simulated)
    content = np.stack([alerts.table.candid, alerts.table.label]).tobytes()
    return {
        "real": [archive.name for archive in archives.real],
        "simulated": [night.name for sky in archives.skies for night in sky],
        "real_alerts": len(real),
        "real_labelled": _counts(real),
        "simulated_alerts": _counts(alerts.table.only(alerts.simulated)),
        "fingerprint": hashlib.sha256(content).hexdigest()[:16],
    }


def card_table(checkpoint: Checkpoint) -> str:
    """The scores of a served model as Markdown."""
    held: Mapping[str, Any] = checkpoint.metadata["held_out"]
    lines = [f"# {checkpoint.name} ({checkpoint.model_id})", "", "Real alerts, by object, out of fold:", ""]
    lines += ["| head | macro-F1 | accuracy | calibration error |", "|---|--:|--:|--:|"]
    for name, found in held.items():
        if isinstance(found, Mapping) and "f1" in found:
            cells = (found["f1"], found["accuracy"], found["calibration_error"])
            lines.append(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    sequences = held.get("simulated_sequences", {})
    if sequences:
        lines += ["", "Simulated objects held out, macro-F1 by number of alerts:", ""]
        lines += ["| alerts | objects | recurrent | mean of alerts | times only |", "|--:|--:|--:|--:|--:|"]
    for length, found in sequences.items():
        cells = (found["recurrent"], found["mean of alerts"], found["times only"])
        lines.append(f"| {length} | {found['objects']:.0f} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    return "\n".join([*lines, ""])


def _counts(alerts: Observed) -> dict[str, int]:
    return {name: int((alerts.label == place).sum()) for place, name in enumerate(CLASSES)}


def _read(archives: Sequence[Path], size: int) -> Observed:
    labels = {candid: label for archive in archives for candid, label in labels_beside(archive).items()}
    return read_observed(archives, labels, size)[0]


def _archives(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted([*path.glob("*.tar.gz"), *path.glob("*.avro"), *path.glob("containers/*.avro")])
    elif path.is_file():
        yield path
    else:
        raise ExperimentError(f"no archive at {path}")


def _truth(archive: Path) -> Path:
    return archive.with_name(archive.name.removesuffix(".tar.gz") + ".truth.parquet")
