"""A run to read: `table.md`, the figures as PNG, and one `report.html` that holds them all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from train import figures
from train.evaluate import calibration_error, per_class, score
from train.finished import finished
from train.material import Material
from train.page import Picture, Section, Table, page
from train.page import picture as _picture
from train.run import CONFIG, PREDICTIONS, RECONSTRUCTING, Outcome

UNITS: Final = {"precision": "%", "recall": "%", "f1": "%", "test_accuracy": "%", "test_f1": "%"}
EXAMPLES: Final = 2


def write_report(outcome: Outcome, material: Material, folder: Path, *, umap: bool = True) -> None:
    """Write table.md, figures/*.png and report.html of a finished run into `folder`."""
    summary = outcome.summary
    sections = [
        Section("Against the seed, by its own protocol", _scale(summary), _parity_parts(outcome, material)),
        Section("By the honest protocol", HONEST, _honest_parts(outcome, material)),
        *(_reconstruction_section(outcome, material) if _reconstructs(outcome) else []),
        Section("The latent space", LATENT, _latent_parts(outcome, material, folder, umap=umap)),
    ]
    (folder / "figures").mkdir(exist_ok=True)
    for picture in [part for section in sections for part in section.parts if isinstance(part, Picture)]:
        (folder / "figures" / f"{picture.name}.png").write_bytes(picture.png)
    facts = {
        "title": summary["run"],
        "subtitle": summary["title"],
        "source": source_line(summary),
        "settings": (folder / CONFIG).read_text(encoding="utf-8"),
    }
    _write(folder / "table.md", markdown(table_rows(summary), summary))
    _write(folder / "report.html", page(facts, sections))


HONEST: Final = (
    "Best weights on validation and test: mean and deviation over the seeds of the run, a bootstrap interval over the "
    "examples, and as many principal components of the pixels, read by the same converged logistic regression. "
    "Pictures are of the first seed's answers on test."
)
LATENT: Final = (
    "Two groupings of the test stamps' latents that were told nothing of the classes, as many groups as classes, and "
    "how they agree with these; and the latents and the answers laid flat by UMAP, coloured by the true class."
)
RECONSTRUCTED: Final = (
    "Two test stamps of each class, best weights. Stamps are shown from 0 to 1, residuals (original less "
    "reconstruction) from −0.3, red, to 0.3, blue."
)


def source_line(summary: Mapping[str, Any]) -> str:
    """What the figures were measured on; simulated data never stands unlabelled beside a seed's figure."""
    source = summary["source"]
    return f"Data: {source['name']} ({source['origin']}), fingerprint {source['fingerprint']}."


def table_rows(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, ours, the seed's, difference) as text; the first row is the head."""
    return [
        *_parity_rows(summary),
        *(row for split in ("validation", "test") for row in _honest_rows(summary, split)),
    ]


def markdown(rows: list[tuple[str, str, str, str]], summary: Mapping[str, Any]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    lines = [f"# {summary['run']}", "", source_line(summary), _scale(summary), "", head, "|---|--:|--:|--:|", *body, ""]
    return "\n".join(lines)


def _scale(summary: Mapping[str, Any]) -> str:
    epochs, origin = summary["epochs"], summary["source"]["origin"]
    length = f"{epochs[0]} epoch{'s' * (epochs[0] > 1)}{f', {len(epochs)} seeds' if len(epochs) > 1 else ''}"
    return f"Learned from {summary['rows']:,} {origin} stamps in {length}."


def _parity_rows(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    origin = summary["source"]["origin"]
    rows = [("figure", f"ours ({origin} data)", "seed's", "difference")]
    for name, ours in summary["parity"].items():
        theirs = summary["reference"].get(name)
        unit = f" {UNITS[name]}" if name in UNITS else ""
        digits = 2 if unit else 6
        compared = ("—", "—") if theirs is None else (f"{theirs:.{digits}f}", f"{ours - theirs:+.{digits}f}")
        rows.append((f"parity: {name}{unit}", f"{ours:.{digits}f}", *compared))
    return rows


def _honest_rows(summary: Mapping[str, Any], split: str) -> list[tuple[str, str, str, str]]:
    found, pca = summary["honest"][split], summary["baseline"][split]
    rows = []
    for name in ("f1", "accuracy", "calibration_error"):
        mean, spread = found[name]["mean"], found[name]["sd"]
        rows.append((f"honest {split}: {name}", f"{mean:.4f} ± {spread:.4f}", "—", "—"))
    rows.append((f"honest {split}: f1, 95 %", f"{found['f1']['low']:.4f} … {found['f1']['high']:.4f}", "—", "—"))
    rows.append((f"PCA and logistic regression, {split}: f1", f"{pca['f1']:.4f}", "—", "—"))
    return rows


def _parity_parts(outcome: Outcome, material: Material) -> list[Table | Picture]:
    summary = outcome.summary
    rows = [[cell.removeprefix("parity: ") for cell in row] for row in _parity_rows(summary)]
    parts: list[Table | Picture] = [Table("Parity", rows)]
    parts.append(_picture("learning_curves", figures.learning_curves(outcome.fit.progress.records)))
    if summary["pooled"]:
        drawn = figures.confusion(np.array(summary["pooled"]), material.classes, "Validation, pooled over probe epochs")
        parts.append(_picture("confusion_pooled", drawn, "What the seed's table is made of: no test result."))
    return parts


def _honest_parts(outcome: Outcome, material: Material) -> list[Table | Picture]:
    true, probability = material.test.true, outcome.probability["test"]
    matrix, error = score(true, probability).confusion, calibration_error(true, probability)
    return [
        Table("Scores, %", _score_rows(outcome.summary)),
        Table("Test, by class, %", _class_rows(outcome, material)),
        _picture("confusion_test", figures.confusion(matrix, material.classes, "Test, best weights")),
        _picture("classes", figures.class_table(true, probability, material.classes)),
        _picture(
            "calibration", figures.calibration(true, probability, error), "A point's size is its share of stamps."
        ),
    ]


def _score_rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    held = [summary["honest"][split] for split in ("validation", "test")]
    names = {"f1": "macro-F1", "accuracy": "accuracy", "calibration_error": "calibration error"}
    rows: list[tuple[str, ...]] = [("", "validation", "test")]
    for key, shown in names.items():
        rows.append((shown, *(f"{100 * one[key]['mean']:.1f} ± {100 * one[key]['sd']:.1f}" for one in held)))
    rows.append(("macro-F1, 95 %", *(f"{100 * one['f1']['low']:.1f} … {100 * one['f1']['high']:.1f}" for one in held)))
    pca = [summary["baseline"][split]["f1"] for split in ("validation", "test")]
    return [*rows, ("macro-F1 of PCA", *(f"{100 * one:.1f}" for one in pca))]


def _class_rows(outcome: Outcome, material: Material) -> list[tuple[str, ...]]:
    table = per_class(material.test.true, outcome.probability["test"])
    rows = [
        (name, *(f"{100 * value:.1f}" for value in table[place, :3]), f"{table[place, 3]:.0f}")
        for place, name in enumerate(material.classes)
    ]
    return [("", "precision", "recall", "F1", "stamps"), *rows]


def _latent_parts(outcome: Outcome, material: Material, folder: Path, *, umap: bool) -> list[Table | Picture]:
    found = outcome.summary["clustering"]
    rows = [(name, *(f"{one[key]:.3f}" for key in ("purity", "ari", "nmi"))) for name, one in found.items()]
    table = Table("Grouping of test latents", [("", "purity", "adjusted Rand", "mutual information"), *rows])
    if not umap:
        return [table]
    true, classes = material.test.true, material.classes
    latents = np.load(folder / PREDICTIONS)["test_latents"]
    logits = np.log(np.maximum(outcome.probability["test"], 1e-9))
    return [
        table,
        _picture("umap_latents", figures.projection(latents, true, classes, "Latents of test stamps")),
        _picture("umap_probe", figures.projection(logits, true, classes, "Answers on test stamps")),
    ]


def _reconstructs(outcome: Outcome) -> bool:
    return outcome.summary["kind"] in RECONSTRUCTING


def _reconstruction_section(outcome: Outcome, material: Material) -> list[Section]:
    """Two test stamps of each class."""
    true = material.test.true
    rows = np.concatenate([np.flatnonzero(true == place)[:EXAMPLES] for place in range(len(material.classes))])
    stamps = material.test.stamps[torch.from_numpy(rows)]
    with torch.no_grad():
        answer = outcome.fit.model(stamps)
    seen = answer[0] if isinstance(answer, tuple) else answer
    titles = [material.classes[true[row]] for row in rows]
    drawn = figures.reconstructions(stamps.cpu().numpy(), seen.cpu().numpy(), material.channels, titles)
    return [Section("Reconstructions", RECONSTRUCTED, [_picture("reconstructions", drawn)])]


def _write(path: Path, text: str) -> None:
    with finished(path) as partial:
        partial.write_text(text, encoding="utf-8")
