"""A run to read: `table.md`, the figures as PNG, and one `report.html` that holds them all."""

import base64
import html
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from matplotlib.figure import Figure

from train import figures
from train.evaluate import calibration_error, score
from train.material import Material
from train.run import RECONSTRUCTING, Outcome

UNITS: Final = {"precision": "%", "recall": "%", "f1": "%", "test_accuracy": "%", "test_f1": "%"}
EXAMPLES: Final = 2

PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin: 1rem 0 }} td, th {{ padding: .25rem .8rem; border-bottom: 1px solid #ddd }}
td:not(:first-child), th:not(:first-child) {{ text-align: right; font-variant-numeric: tabular-nums }}
.source {{ background: #fff3d6; border-left: 4px solid #e0a800; padding: .5rem 1rem }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }}
figure {{ margin: 0 }} img {{ max-width: 100% }} pre {{ background: #f6f6f6; padding: 1rem; overflow: auto }}
</style>
<h1>{title}</h1><p>{subtitle}</p><p class="source">{source}</p>
<h2>By the seed's protocol, and the honest one</h2>{table}
<h2>Figures</h2><div class="figures">{pictures}</div>
<h2>Settings</h2><pre>{settings}</pre></html>
"""


def write_report(outcome: Outcome, material: Material, folder: Path, *, umap: bool = True) -> None:
    """Write table.md, figures/*.png and report.html of a finished run into `folder`."""
    rows = table_rows(outcome.summary)
    (folder / "table.md").write_text(markdown(rows, outcome.summary), encoding="utf-8")
    drawn = {name: _png(figure) for name, figure in _figures(outcome, material, umap=umap).items()}
    (folder / "figures").mkdir(exist_ok=True)
    for name, content in drawn.items():
        (folder / "figures" / f"{name}.png").write_bytes(content)
    page = PAGE.format(
        title=html.escape(outcome.summary["run"]),
        subtitle=html.escape(outcome.summary["title"]),
        source=html.escape(source_line(outcome.summary)),
        table=_table(rows),
        pictures="".join(_picture(name, content) for name, content in drawn.items()),
        settings=html.escape((folder / "config.json").read_text(encoding="utf-8")),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def source_line(summary: Mapping[str, Any]) -> str:
    """What the figures were measured on; simulated data never stands unlabelled beside a seed's figure."""
    source = summary["source"]
    return f"Data: {source['name']} ({source['origin']}), fingerprint {source['fingerprint']}."


def table_rows(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, ours, the seed's, difference) as text; the first row is the head."""
    origin = summary["source"]["origin"]
    rows = [("figure", f"ours ({origin} data)", "seed's", "difference")]
    for name, ours in summary["parity"].items():
        theirs = summary["reference"].get(name)
        unit = f" {UNITS[name]}" if name in UNITS else ""
        digits = 2 if unit else 6
        rows.append(
            (
                f"parity: {name}{unit}",
                f"{ours:.{digits}f}",
                "—" if theirs is None else f"{theirs:.{digits}f}",
                "—" if theirs is None else f"{ours - theirs:+.{digits}f}",
            )
        )
    return rows + [row for split in ("validation", "test") for row in _honest_rows(summary, split)]


def markdown(rows: list[tuple[str, str, str, str]], summary: Mapping[str, Any]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"# {summary['run']}", "", source_line(summary), "", head, "|---|--:|--:|--:|", *body, ""])


def _honest_rows(summary: Mapping[str, Any], split: str) -> list[tuple[str, str, str, str]]:
    found, pca = summary["honest"][split], summary["baseline"][split]
    rows = []
    for name in ("f1", "accuracy", "calibration_error"):
        mean, spread = found[name]["mean"], found[name]["sd"]
        rows.append((f"honest {split}: {name}", f"{mean:.4f} ± {spread:.4f}", "—", "—"))
    rows.append((f"honest {split}: f1, 95 %", f"{found['f1']['low']:.4f} … {found['f1']['high']:.4f}", "—", "—"))
    rows.append((f"PCA and logistic regression, {split}: f1", f"{pca['f1']:.4f}", "—", "—"))
    return rows


def _figures(outcome: Outcome, material: Material, *, umap: bool) -> dict[str, Figure]:
    test, probability = material.test, outcome.probability["test"]
    drawn = {
        "learning_curves": figures.learning_curves(outcome.fit.progress.records),
        "confusion_test": figures.confusion(
            score(test.true, probability).confusion, material.classes, "Test, best weights"
        ),
        "classes": figures.class_table(test.true, probability, material.classes),
        "calibration": figures.calibration(test.true, probability, calibration_error(test.true, probability)),
    }
    if _reconstructs(outcome):
        drawn["reconstructions"] = _reconstructed(outcome, material)
    if umap:
        latents = np.load(_predictions(outcome))["test_latents"]
        drawn["umap_latents"] = figures.projection(latents, test.true, material.classes, "Latents of test stamps")
        logits = np.log(np.maximum(probability, 1e-9))
        drawn["umap_probe"] = figures.projection(logits, test.true, material.classes, "Answers on test stamps")
    return drawn


def _predictions(outcome: Outcome) -> Path:
    return outcome.fit.folder.parent / "predictions.npz"


def _reconstructs(outcome: Outcome) -> bool:
    config = json.loads((outcome.fit.folder.parent / "config.json").read_text(encoding="utf-8"))
    return config["kind"] in RECONSTRUCTING


def _reconstructed(outcome: Outcome, material: Material) -> Figure:
    """Two test stamps of each class."""
    true = material.test.true
    rows = np.concatenate([np.flatnonzero(true == place)[:EXAMPLES] for place in range(len(material.classes))])
    stamps = material.test.stamps[torch.from_numpy(rows)]
    with torch.no_grad():
        answer = outcome.fit.model(stamps)
    seen = answer[0] if isinstance(answer, tuple) else answer
    titles = [material.classes[true[row]] for row in rows]
    return figures.reconstructions(stamps.cpu().numpy(), seen.cpu().numpy(), material.channels, titles)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _picture(name: str, content: bytes) -> str:
    encoded = base64.b64encode(content).decode()
    return f'<figure><img alt="{name}" src="data:image/png;base64,{encoded}"></figure>'


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    head, *body = rows
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return f"<table><tr>{cells}</tr>{''.join(lines)}</table>"
