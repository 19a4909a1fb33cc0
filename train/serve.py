"""A run of `estampa-serve`: archives in, a folder with the checkpoint and its scores out; and its export."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.checkpoint import Checkpoint, load, save
from model_zoo.preprocess import Preprocessing
from model_zoo.taxonomy import CLASSES
from train.alerts import Alerts, gather
from train.crossvalidation import by_length, held_out, scores, served_temperature
from train.experiment import Experiment, ExperimentError
from train.folds import Folds
from train.labels import labels_beside, truth_beside
from train.nested import Plan, Say, choose_encoder, choose_head, fit_fused
from train.observed import Observed, read_observed
from train.run import environment
from train.sequence_score import sequence_scores
from train.serving import Encoders, Serving, fit_models
from train.supervised import EncoderTraining

CHECKPOINT: Final = "checkpoint"
METADATA: Final = "metadata"
PROTOCOL: Final = (
    "real alerts, folds by object, nested: a fold's settings were chosen on other folds, by models that saw neither; "
    "encoder, heads and temperature of a fold saw no label of it"
)


def quiet(_: str) -> None:
    """Say nothing."""


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
        if truth_beside(archive).is_file():
            skies[archive.parent].append(archive)
        else:
            real.append(archive)
    return Archives(tuple(real), tuple(tuple(nights) for nights in skies.values()))


def run_serving(experiment: Experiment, paths: Sequence[Path], folder: Path, say: Say = quiet) -> list[Checkpoint]:
    """Choose, score, train and write the served models into `folder`: one of images, and one of metadata too.

    A run that was stopped goes on: encoders that were fitted are kept. Raises ExperimentError where no real alert has
    a label.
    """
    if experiment.folds < 3:
        raise ExperimentError(
            f"folds is {experiment.folds}; 3 is the least: one to score, one to choose by, one to learn"
        )
    archives = find_archives(paths)
    real, *skies = [_read(group, experiment.size) for group in (archives.real, *archives.skies) if group]
    if not archives.real or not real.labelled.any():
        raise ExperimentError("no real alert has a label: put labels.csv (candid, label) beside its archive")
    alerts = gather(real, skies, serving_of(experiment).preprocessing)
    told = {"data": described(alerts, archives), "environment": environment(torch.device("cpu"))}
    made = fit_checkpoints(experiment, alerts, Encoders(folder / "encoders"), told, say)
    (folder / "config.json").write_text(json.dumps(asdict(experiment), indent=2) + "\n", encoding="utf-8")
    for checkpoint in made:
        place = folder / METADATA if checkpoint.mlp.config.metadata else folder
        save(checkpoint, place / CHECKPOINT)
        (place / "table.md").write_text(card_table(checkpoint), encoding="utf-8")
    return made


def fit_checkpoints(
    experiment: Experiment, alerts: Alerts, encoders: Encoders, told: dict[str, Any], say: Say
) -> list[Checkpoint]:
    """Cross-validate, then fit on all but some simulated objects: the checkpoints that serve, scores in their cards."""
    serving = serving_of(experiment)
    folds = Folds.of(alerts, experiment.folds, experiment.seed)
    plan = choose_encoder(alerts, folds, serving, experiment.search, encoders, say)
    fused = choose_head(alerts, folds, plan, experiment.search, encoders, say) if experiment.metadata else None
    alerts = alerts.seen(plan.final.preprocessing)
    logits = held_out(alerts, folds, plan, fused, encoders, say)
    found = scores(alerts, folds, logits)
    say("the model that serves")
    held = simulated_held(alerts, plan.final)
    models = fit_models(alerts, plan.final, np.flatnonzero(held), encoders)
    lengths = {"real_sequences": by_length(alerts, folds, logits)}
    if held.any():
        lengths["simulated_sequences"] = sequence_scores(models, alerts, held, plan.final)
    heads = {"mlp": models.mlp}
    if fused:
        heads["fused"] = fit_fused(alerts, alerts.without(np.flatnonzero(held)), models.mlp, fused.final)
    for name, head in heads.items():
        head.temperature.fill_(served_temperature(alerts, folds, logits[name]))
    models.recurrent.temperature.fill_(served_temperature(alerts, folds, logits["recurrent"]))
    parts = (plan.final.preprocessing, CLASSES, plan.final.config, models.encoder)
    made = []
    for name, chosen in (("mlp", plan), ("fused", fused)):
        if chosen:
            card = {"held_out": {"protocol": PROTOCOL, **_of_interest(found, name), **lengths}, **_settings(chosen)}
            run = experiment.run if name == "mlp" else f"{experiment.run}-{METADATA}"
            made.append(Checkpoint(run, *parts, heads[name], models.recurrent, card | told))
    return made


def _of_interest(found: Mapping[str, Any], head: str) -> dict[str, Any]:
    """Scores of what a checkpoint holds; its own head's under `mlp`, the image head's beside it as `images_only`."""
    if head == "mlp":
        return {name: value for name, value in found.items() if not name.startswith("fused")}
    renamed = {f"images_only_{name.removeprefix('mlp_')}": found[name] for name in found if name.startswith("mlp_")}
    own = {f"mlp_{name.removeprefix('fused_')}": found[name] for name in found if name.startswith("fused_")}
    return own | renamed | {name: found[name] for name in found if name.startswith("recurrent_")}


def _settings(plan: Plan) -> dict[str, Any]:
    """The settings of the model that serves, and what each fold chose for itself."""
    final = asdict(plan.final)
    changed = [{name: value for name, value in asdict(one).items() if value != final[name]} for one in plan.outer]
    return {"settings": final, "chosen_otherwise_by_fold": changed}


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
    return {
        "real": [archive.name for archive in archives.real],
        "simulated": [night.name for sky in archives.skies for night in sky],
        "real_alerts": len(real),
        "real_labelled": _counts(real),
        "simulated_alerts": _counts(alerts.table.only(alerts.simulated)),
        "fingerprint": alerts.fingerprint(),
    }


def card_table(checkpoint: Checkpoint) -> str:
    """The scores of a served model as Markdown."""
    held: Mapping[str, Any] = checkpoint.metadata["held_out"]
    lines = [f"# {checkpoint.name} ({checkpoint.model_id})", "", "Real alerts, by object, nested:", ""]
    lines += ["| judge | macro-F1 | folds | accuracy | calibration error |", "|---|--:|--:|--:|--:|"]
    for name, found in held.items():
        if isinstance(found, Mapping) and "f1" in found:
            cells = (found["f1"], found["accuracy"], found["calibration_error"])
            spread = f"± {np.std(found['f1_by_fold']):.3f}" if "f1_by_fold" in found else ""
            lines.append(f"| {name} | {cells[0]:.3f} | {spread} | {cells[1]:.3f} | {cells[2]:.3f} |")
    for kind in ("simulated", "real"):
        lines += _by_length(kind, held.get(f"{kind}_sequences", {}))
    return "\n".join([*lines, ""])


def _by_length(kind: str, found: Mapping[str, Mapping[str, float]]) -> list[str]:
    if not found:
        return []
    judges = [name for name in next(iter(found.values())) if name != "objects"]
    lines = ["", f"{kind.capitalize()} objects held out, macro-F1 by number of alerts:", ""]
    lines += [f"| alerts | objects | {' | '.join(judges)} |", "|--:" * (len(judges) + 2) + "|"]
    for length, row in found.items():
        cells = " | ".join(f"{row[name]:.3f}" for name in judges)
        lines.append(f"| {length} | {row['objects']:.0f} | {cells} |")
    return lines


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
