"""A run to read: `table.md`, the figures as PNG, and one `report.html` that holds them all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.baselines.dataset import SplitTensors
from train.baselines.reconstruction import Reconstruct, errors, reconstructed, reconstructors
from train.baselines.run import Outcome
from train.experiments.run_folder import CONFIG, PREDICTIONS
from train.files import write_text
from train.reporting.figures import (
    calibration,
    class_table,
    confusion,
    learning_curves,
    loss_panels,
    pretraining_panels,
    projection,
    reconstructions,
)
from train.reporting.page import PageSection, Picture, write_page
from train.reporting.page import picture as _picture
from train.reporting.tables import TextTable, class_rows
from train.training.scores import calibration_error, score, worded

UNITS: Final = {"precision": "%", "recall": "%", "f1": "%", "test_accuracy": "%", "test_f1": "%"}
EXAMPLES: Final = 2
STAGES: Final = {
    "pretrained-alone": "pretraining: autoencoder alone",
    "pretrained-through": "pretraining: autoencoder through the recurrent layer",
}
"""What the stages are called on the page, by their folders."""
SEQUENCE: Final = 5
"""Dimensions of a batch of sequences of stamps."""


def write_report(outcome: Outcome, tensors: SplitTensors, folder: Path, *, umap: bool = True) -> None:
    """Write table.md, figures/*.png and report.html of a finished run into `folder`."""
    summary, config = outcome.summary, (folder / CONFIG).read_text(encoding="utf-8")
    settings = json.loads(config)
    made = _reconstructions(outcome, tensors, settings)
    sections = [
        PageSection(
            "By the reference protocol, beside the source", _scale(summary), _reference_parts(outcome, tensors)
        ),
        PageSection("Learning", LEARNED, _learning_parts(outcome, settings)),
        PageSection("By the held-out protocol", HELD_OUT, _held_out_parts(outcome, tensors)),
        *([PageSection("Reconstructions", RECONSTRUCTED, _reconstruction_parts(made, tensors))] if made else []),
        PageSection("The latent space", LATENT, _latent_parts(outcome, tensors, folder, umap=umap)),
    ]
    facts = {
        "title": summary["run"],
        "subtitle": summary["title"],
        "source": source_line(summary),
        "settings": config,
    }
    write_text(folder / "table.md", markdown([*table_rows(summary), *_error_rows(made, tensors)], summary))
    write_page(folder, facts, sections)


HELD_OUT: Final = (
    "Best weights on validation and test: mean and deviation over the seeds of the run, a bootstrap interval of that "
    "mean over the objects, and as many principal components of the pixels, read by the same converged logistic "
    "regression. Pictures are of the first seed's answers on test."
)
LATENT: Final = (
    "Two groupings of the test stamps' latents that were made without the classes, as many groups as classes, and "
    "how they agree with these; and the latents and the answers laid flat by UMAP, coloured by the true class."
)
RECONSTRUCTED: Final = (
    "Best weights. The error is the mean over the pixels of all test stamps, which lie in [0, 1], with its deviation "
    "over the seeds. Below, two test stamps of each class, of a sequence the last, by the first seed: shown from 0 to "
    "1, residuals (original less reconstruction) from −0.3, red, to 0.3, blue."
)
LEARNED: Final = (
    "The first seed's, as in metrics.jsonl; the dotted line is at the best epoch, by the loss on validation."
)


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What reconstructs, by the first seed; error: (S, classes + 1) on test by seed and class, the last over all."""

    name: str
    reconstruct: Reconstruct
    error: NDArray[np.float64]

    def shown(self, place: int) -> str:
        """The error of a class, or of all, and its deviation over the seeds where there are several."""
        found = self.error[:, place]
        spread = f" ± {found.std(ddof=1):.6f}" if len(found) > 1 else ""
        return f"{found.mean():.6f}{spread}"


def source_line(summary: Mapping[str, Any]) -> str:
    """What the figures were measured on; simulated data never stands unlabelled beside a seed's figure."""
    source = summary["source"]
    return f"Data: {source['name']} ({source['origin']}), fingerprint {source['fingerprint']}."


def table_rows(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, ours, the seed's, difference) as text; the first row is the head."""
    return [
        *_reference_rows(summary),
        *(row for split in ("validation", "test") for row in _held_out_rows(summary, split)),
    ]


def markdown(rows: list[tuple[str, str, str, str]], summary: Mapping[str, Any]) -> str:
    table = TextTable("", rows).markdown()
    return "\n".join([f"# {summary['run']}", "", source_line(summary), _scale(summary), "", table, ""])


def _scale(summary: Mapping[str, Any]) -> str:
    epochs, origin = summary["epochs"], summary["source"]["origin"]
    length = f"{epochs[0]} epoch{'s' * (epochs[0] > 1)}{f', {len(epochs)} seeds' if len(epochs) > 1 else ''}"
    unlike = f" No figure of the seed stands beside: {summary['unlike']}." if summary.get("unlike") else ""
    return f"Learned from {summary['rows']:,} {origin} stamps in {length}.{unlike}"


def _reference_rows(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    origin = summary["source"]["origin"]
    rows = [("figure", f"ours ({origin} data)", "seed's", "difference")]
    for name, ours in summary["parity"].items():
        theirs = summary["reference"].get(name)
        unit = f" {UNITS[name]}" if name in UNITS else ""
        digits = 2 if unit else 6
        compared = ("—", "—") if theirs is None else (f"{theirs:.{digits}f}", f"{ours - theirs:+.{digits}f}")
        rows.append((f"reference protocol: {name}{unit}", f"{ours:.{digits}f}", *compared))
    return rows


def _held_out_rows(summary: Mapping[str, Any], split: str) -> list[tuple[str, str, str, str]]:
    found, pca = summary["honest"][split], summary["baseline"][split]
    scores = ("f1", "accuracy", "calibration_error")
    rows = [(f"held out, {split}: {name}", worded(found[name], 4), "—", "—") for name in scores]
    rows.append((f"held out, {split}: f1, 95 %", f"{found['f1']['low']:.4f} … {found['f1']['high']:.4f}", "—", "—"))
    rows.append((f"PCA and logistic regression, {split}: f1", f"{pca['f1']:.4f}", "—", "—"))
    return rows


def _reference_parts(outcome: Outcome, tensors: SplitTensors) -> list[TextTable | Picture]:
    summary = outcome.summary
    rows = [[cell.removeprefix("reference protocol: ") for cell in row] for row in _reference_rows(summary)]
    parts: list[TextTable | Picture] = [TextTable("Reference protocol", rows)]
    if summary["pooled"]:
        drawn = confusion(np.array(summary["pooled"]), tensors.classes, "Validation, pooled over probe epochs")
        parts.append(_picture("confusion_pooled", drawn, "What the seed's table is made of: no test result."))
    return parts


def _held_out_parts(outcome: Outcome, tensors: SplitTensors) -> list[TextTable | Picture]:
    true, probability = tensors.test.true, outcome.probability["test"]
    matrix, error = score(true, probability).confusion, calibration_error(true, probability)
    return [
        TextTable("Scores, %", _score_rows(outcome.summary)),
        TextTable("Test, by class, %", class_rows(true, probability, tensors.classes, "stamps")),
        _picture("confusion_test", confusion(matrix, tensors.classes, "Test, best weights")),
        _picture("classes", class_table(true, probability, tensors.classes)),
        _picture("calibration", calibration(true, probability, error), "A point's size is its share of stamps."),
    ]


def _score_rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    held = [summary["honest"][split] for split in ("validation", "test")]
    names = {"f1": "macro-F1", "accuracy": "accuracy", "calibration_error": "calibration error"}
    rows: list[tuple[str, ...]] = [("", "validation", "test")]
    for key, shown in names.items():
        rows.append((shown, *(worded(one[key], 1, 100) for one in held)))
    rows.append(("macro-F1, 95 %", *(f"{100 * one['f1']['low']:.1f} … {100 * one['f1']['high']:.1f}" for one in held)))
    pca = [summary["baseline"][split]["f1"] for split in ("validation", "test")]
    return [*rows, ("macro-F1 of PCA", *(f"{100 * one:.1f}" for one in pca))]


def _latent_parts(outcome: Outcome, tensors: SplitTensors, folder: Path, *, umap: bool) -> list[TextTable | Picture]:
    found = outcome.summary["clustering"]
    rows = [(name, *(f"{one[key]:.3f}" for key in ("purity", "ari", "nmi"))) for name, one in found.items()]
    table = TextTable("Grouping of test latents", [("", "purity", "adjusted Rand", "mutual information"), *rows])
    if not umap:
        return [table]
    true, classes = tensors.test.true, tensors.classes
    with np.load(folder / PREDICTIONS) as kept:
        latents = kept["test_latents"]
    logits = np.log(np.maximum(outcome.probability["test"], 1e-9))
    return [
        table,
        _picture("umap_latents", projection(latents, true, classes, "Latents of test stamps")),
        _picture("umap_probe", projection(logits, true, classes, "Answers on test stamps")),
    ]


def _learning_parts(outcome: Outcome, settings: Mapping[str, Any]) -> list[TextTable | Picture]:
    """The stages in the order in which they were learned."""
    parts: list[TextTable | Picture] = [
        _picture(f"learning_curves_{name}", learning_curves(panels), _worded(name))
        for name, panels in pretraining_panels(outcome.fit.folder).items()
    ]
    drawn = learning_curves(loss_panels(settings, outcome.fit.progress.records))
    return [*parts, _picture("learning_curves", drawn, settings["kind"])]


def _worded(name: str) -> str:
    return STAGES.get(name, name)


def _reconstructions(outcome: Outcome, tensors: SplitTensors, settings: Mapping[str, Any]) -> list[Reconstruction]:
    first, classes = outcome.fit.folder, len(tensors.classes)
    folders = [first.with_name(f"seed-{settings['seed'] + place}") for place in range(settings["seeds"])]
    seeds = [reconstructors(outcome.fit.model, settings, folder) for folder in folders]
    return [
        Reconstruction(name, reconstruct, np.stack([errors(one[name], tensors.test, classes) for one in seeds]))
        for name, reconstruct in seeds[0].items()
    ]


def _error_rows(made: list[Reconstruction], tensors: SplitTensors) -> list[tuple[str, str, str, str]]:
    """Rows of `table_rows`: the held-out error beside the source's, which is over its training batches."""
    names = ("", *(f", {name}" for name in tensors.classes))
    places = (len(tensors.classes), *range(len(tensors.classes)))
    return [
        (f"held out, test: mse of {_worded(one.name)}{name}", one.shown(place), "—", "—")
        for one in made
        for name, place in zip(names, places, strict=True)
    ]


def _reconstruction_parts(made: list[Reconstruction], tensors: SplitTensors) -> list[TextTable | Picture]:
    """The errors, and two test stamps of each class."""
    rows = [
        (name, *(one.shown(place) for one in made)) for place, name in enumerate((*tensors.classes, "all test stamps"))
    ]
    return [
        TextTable("Mean squared error on test", [("", *(_worded(one.name) for one in made)), *rows]),
        *(_reconstruction_picture(one, tensors) for one in made),
    ]


def _reconstruction_picture(one: Reconstruction, tensors: SplitTensors) -> Picture:
    true = tensors.test.true
    rows = np.concatenate([np.flatnonzero(true == place)[:EXAMPLES] for place in range(len(tensors.classes))])
    stamps = tensors.test.stamps[torch.from_numpy(rows)]
    pair = [part[:, -1] if part.ndim == SEQUENCE else part for part in (stamps, reconstructed(one.reconstruct, stamps))]
    titles = [tensors.classes[true[row]] for row in rows]
    drawn = reconstructions(pair[0].cpu().numpy(), pair[1].cpu().numpy(), tensors.channels, titles)
    return _picture(f"reconstructions_{one.name}", drawn, _worded(one.name))
