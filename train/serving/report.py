"""`report.html` of a served model: its heads on held-out alerts, how they learned, and the latents they read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from model_zoo.classes import CLASSES
from train.experiments.experiment import Experiment
from train.experiments.run_folder import CONFIG
from train.reporting.figures import COLOURS, calibration, class_table, confusion, projection
from train.reporting.page import PageSection, Picture, picture, write_page
from train.reporting.tables import TextTable, class_rows, length_table
from train.serving.card import origins
from train.serving.heads import view_latents
from train.serving.model_selection import CLASSIFIERS, first_alerts
from train.serving.pipeline import SERVED, ServedModels
from train.training.metrics_log import MetricsLog
from train.training.scores import calibration_error, clustering, score
from train.training.step import CURVE_STEPS

HEADS: Final = {"mlp": "The image head", "fused": "The head that sees metadata too", "recurrent": "The recurrent head"}
FITS: Final = {"mlp": "image head", "recurrent": "recurrent head", "member": "members that see metadata"}
HELD_OUT: Final = (
    "{classifier}: the first alert of each {origin} object, by models that saw no label of its fold, at a "
    "temperature that other folds' predictions set."
)
HOLDOUT: Final = (
    "{split} of the sets of stamps ({origin} data), of which nothing was learned or chosen, by the models that serve."
)
LENGTHS: Final = (
    "Objects with so many alerts or more, scored after just so many. The recurrent head has to beat the mean of the "
    "image head's predictions and, where there are simulated objects, one that sees only times, bands and length."
)
LEARNING: Final = (
    f"Mean training loss of every {CURVE_STEPS} steps of the models that serve; metrics.jsonl has every other fit. The "
    "encoder's targets are mixed and smoothed, so that its loss does not go to 0."
)
LATENT: Final = (
    "Two groupings of held-out latents made without the classes, as many groups as classes, and how they "
    "agree with these: the mean of the folds, each in its own encoder's space. And latents and predictions laid flat "
    "by UMAP, coloured by the true class."
)


def write_serve_report(
    served: ServedModels, journal: MetricsLog, experiment: Experiment, folder: Path, *, umap: bool
) -> None:
    """Write figures/*.png and report.html of a finished run into `folder`."""
    first = first_alerts(served.alerts, served.folds.rows)
    data = served.checkpoints[0].metadata["data"]
    sections = [
        *(_held(served, head, first, data["origin"]) for head in HEADS if head in served.probabilities),
        *(_holdout(served, split, origins(data)) for split in served.holdout),
        PageSection("By number of alerts", LENGTHS, _by_length(served, data["origin"])),
        PageSection("How the models that serve learned", LEARNING, _learning(journal)),
        PageSection("The latent space", LATENT, _latents(served, first, experiment.seed, umap=umap)),
    ]
    facts = {
        "title": f"{experiment.run} ({served.checkpoints[0].model_id})",
        "subtitle": experiment.title,
        "source": f"Data: {', '.join(names_of(data))}; evaluated on {data['origin']} data; fingerprint "
        f"{data['fingerprint']}.",
        "settings": (folder / CONFIG).read_text(encoding="utf-8"),
    }
    write_page(folder, facts, sections)


def names_of(data: Mapping[str, Sequence[str | Mapping[str, str]]]) -> list[str]:
    """Each file that was learned from, with its origin."""
    return [
        *(f"{name} (real)" for name in data["real"]),
        *(f"{name} (simulated)" for name in data["simulated"]),
        *(f"{one['name']} ({one['origin']})" for one in data["stamps"] if not isinstance(one, str)),
    ]


def _held(served: ServedModels, head: str, first: NDArray[np.bool_], origin: str) -> PageSection:
    label = served.alerts.sequences.label.numpy()[served.folds.rows][first]
    probability = served.probabilities[head][first]
    text = HELD_OUT.format(classifier=CLASSIFIERS[head].capitalize(), origin=origin)
    return PageSection(f"{HEADS[head]}, first alerts held out", text, _score_parts(label, probability, head))


def _holdout(served: ServedModels, split: str, origin: str) -> PageSection:
    holdout = served.holdout[split]
    text = HOLDOUT.format(split=split.capitalize(), origin=origin)
    parts = _score_parts(holdout.label, holdout.probabilities[holdout.classifier], split)
    rows = [
        (CLASSIFIERS[classifier], *(f"{100 * value:.1f}" for value in (one.f1, one.accuracy, one.calibration_error)))
        for classifier, one in holdout.scores.items()
    ]
    return PageSection(
        f"{split.capitalize()} of the sets of stamps",
        text,
        [TextTable("All classifiers, %", [("", "macro-F1", "accuracy", "error"), *rows]), *parts],
    )


def _score_parts(label: NDArray[np.int64], probability: NDArray[np.float64], name: str) -> list[TextTable | Picture]:
    """Scores and the three pictures of a head's predictions (N, classes)."""
    found, error = score(label, probability), calibration_error(label, probability)
    shown = {"macro-F1": found.f1, "accuracy": found.accuracy, "calibration error": error}
    return [
        TextTable("Scores, %", [("", "all"), *((what, f"{100 * value:.1f}") for what, value in shown.items())]),
        TextTable("By class, %", class_rows(label, probability, CLASSES, "examples")),
        picture(f"confusion_{name}", confusion(found.confusion, CLASSES, f"{len(label)} examples")),
        picture(f"classes_{name}", class_table(label, probability, CLASSES)),
        picture(f"calibration_{name}", calibration(label, probability, error)),
    ]


def _by_length(served: ServedModels, origin: str) -> list[TextTable | Picture]:
    tables: list[TextTable | Picture] = []
    pictures: list[TextTable | Picture] = []
    for kind, found in served.lengths.items():
        if not found:
            continue
        title = f"{origin.capitalize() if kind == 'real_sequences' else 'Simulated'} objects held out"
        tables.append(length_table(title, found))
        if len(found) > 1:
            pictures.append(picture(kind, score_by_length(found, title)))
    return tables + pictures


def _learning(journal: MetricsLog) -> list[Picture]:
    """One picture for each kind of fit; a kind's several fits, such as teachers, are lines of it."""
    kinds: dict[str, dict[str, Sequence[tuple[int, float]]]] = {}
    for line in journal.lines:
        if line.get("stage") != SERVED:
            continue
        for name, curve in line["loss"].items():
            kind = name.split()[0]
            known = kinds.setdefault(kind, {})
            known["distilled" if line.get("distilled") else f"{kind} {len(known) + 1}"] = curve
    return [picture(f"learning_{kind}", losses(curves, FITS.get(kind, kind))) for kind, curves in kinds.items()]


def _latents(served: ServedModels, first: NDArray[np.bool_], seed: int, *, umap: bool) -> list[TextTable | Picture]:
    label = served.alerts.sequences.label.numpy()[served.folds.rows]
    latents, fold = served.held.latents.numpy(), served.folds.fold
    found = [
        clustering(latents[some].astype(np.float64), label[some], seed)
        for some in (first & (fold == place) for place in range(served.folds.count))
    ]
    rows = [
        (name, *(f"{np.mean([one[name][key] for one in found]):.3f}" for key in ("purity", "ari", "nmi")))
        for name in found[0]
    ]
    table = TextTable("Grouping of held-out latents", [("", "purity", "adjusted Rand", "mutual information"), *rows])
    if not umap:
        return [table]
    last = served.alerts.sequences.last_rows[torch.from_numpy(served.folds.rows[first])]
    learned = view_latents(served.models.encoder, served.alerts.inputs[last], (0,))[:, 0].numpy()
    predictions = np.log(np.maximum(served.probabilities["mlp"][first], 1e-9))
    alone = first & (fold == 0)
    drawn = [
        ("umap_held", latents[alone], label[alone], "Latents of fold 1, held out", "The encoder saw none of these."),
        (
            "umap_answers",
            predictions,
            label[first],
            "Predictions for held-out first alerts",
            "Each by its fold's image head.",
        ),
        ("umap_latents", learned, label[first], "Latents of the encoder that serves", "It learned from these alerts."),
    ]
    if "test" in served.holdout:
        test = served.holdout["test"]
        drawn.append(("umap_test", test.latents, test.label, "Latents of the sets' test", "None was learned from."))
    return [
        table,
        *(picture(name, projection(values, of, CLASSES, title), caption) for name, values, of, title, caption in drawn),
    ]


def score_by_length(found: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """Macro-F1 of each classifier after so many alerts; below each length, how many objects have as many."""
    figure = Figure(figsize=(4.6, 3.2))
    axes = figure.subplots()
    classifiers = [name for name in next(iter(found.values())) if name != "objects"]
    places = range(len(found))
    for classifier, colour in zip(classifiers, COLOURS, strict=False):
        axes.plot(places, [row[classifier] for row in found.values()], color=colour, marker="o", label=classifier)
    counts = [f"{length}\n{row['objects']:.0f} obj." for length, row in found.items()]
    axes.set_xticks(places, counts)
    axes.set(ylim=(0, 1.02), xlabel="alerts so far", ylabel="macro-F1", title=title)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def losses(curves: Mapping[str, Sequence[tuple[int, float]]], title: str) -> Figure:
    """The training loss of one or several fits of one kind, by step."""
    figure = Figure(figsize=(4.2, 3))
    axes = figure.subplots()
    for (name, curve), colour in zip(curves.items(), COLOURS * (1 + len(curves) // len(COLOURS)), strict=False):
        axes.plot(*zip(*curve, strict=True), color=colour, marker=".", label=name)
    axes.set(xlabel="step", ylabel=f"loss, mean of {CURVE_STEPS} steps", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(curves) > 1:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
