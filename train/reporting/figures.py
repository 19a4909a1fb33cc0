"""The pictures of a run. Each is a function from arrays to a matplotlib figure."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from train.training.loop import METRICS
from train.training.scores import per_class, reliability

Records = Sequence[Mapping[str, Any]]

MSE: Final = "MSE of pixels in [0, 1]"
RMSE: Final = "√MSE of pixels in [0, 1]"
VAE: Final = "MSE + divergence, per pixel"
CROSS_ENTROPY: Final = "cross entropy, nats"
WEIGHTED: Final = "cross entropy weighted by class, nats"
ENTROPY: Final = "cross entropy less β entropy, nats"


@dataclass(frozen=True, slots=True)
class Panel:
    """quantity: on the axis, with its unit. lines: of one value an epoch, by name. best: epoch of the weights kept."""

    quantity: str
    lines: Mapping[str, Sequence[float]]
    best: int


def loss_panels(settings: Mapping[str, Any], records: Records) -> list[Panel]:
    """The panels of a run's main fit. settings: as in config.json. records: one an epoch, as in metrics.jsonl.

    Training and validation share a panel where they are the same quantity, and only there.
    """
    train, held = _column(records, "train"), _column(records, "validation")
    loss, best = settings["loss"], best_epoch(records)
    if loss == "rmse":
        return [Panel(RMSE, {"train": train, "validation": [math.sqrt(value) for value in held]}, best)]
    if loss == "mse":
        return [Panel(VAE if settings["kind"] == "vae" else MSE, {"train": train, "validation": held}, best)]
    accuracy = Panel("accuracy, %", {"validation": [100 * one["validation_accuracy"] for one in records]}, best)
    if loss == "crossentropy" and not settings["weighted"]:
        return [Panel(CROSS_ENTROPY, {"train": train, "validation": held}, best), accuracy]
    learned = ENTROPY if loss == "entropy" else WEIGHTED
    return [Panel(learned, {"train": train}, best), Panel(CROSS_ENTROPY, {"validation": held}, best), accuracy]


def pretraining_panels(folder: Path) -> dict[str, list[Panel]]:
    """The panels of each stage of reconstruction before a classifier's fit in `folder`, by the stage's own folder."""
    stages = {place.parent.name: _read(place) for place in sorted(folder.glob(f"pretrained-*/{METRICS}"))}
    return {
        name: [Panel(MSE, {key: _column(records, key) for key in ("train", "validation")}, best_epoch(records))]
        for name, records in stages.items()
    }


def best_epoch(records: Records) -> int:
    """The epoch of the best validation loss, the last such: a tie counts as better."""
    best: int = min(records, key=lambda record: (record["validation"], -record["epoch"]))["epoch"]
    return best


def _column(records: Records, name: str) -> list[float]:
    return [record[name] for record in records]


def _read(path: Path) -> Records:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


COLOURS: Final = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme: distinct to the colour-blind."""
UMAP_POINTS: Final = 3000
WIDE: Final = 5
"""Losses whose highest value is so many times the lowest are drawn on a logarithmic scale."""
RESIDUAL: Final = 0.3
"""Residuals are shown to this, of stamps between 0 and 1."""
STYLE: Final[Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "savefig.bbox": "tight",
}
mpl.rcParams.update(STYLE)


def learning_curves(panels: Sequence[Panel]) -> Figure:
    """Every quantity by epoch, the best epoch marked; one panel a quantity, side by side."""
    figure = Figure(figsize=(3.6 * len(panels), 2.9), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, values in panel.lines.items():
            colour = COLOURS[name == "validation"]
            axes.plot(range(1, len(values) + 1), values, color=colour, label=name, marker=".")
        axes.axvline(panel.best, color="#888888", linestyle=":", label=f"best, epoch {panel.best}")
        axes.set(xlabel="epoch", ylabel=panel.quantity)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        values = [value for line in panel.lines.values() for value in line]
        if min(values) > 0 and max(values) > WIDE * min(values):
            axes.set_yscale("log")
        axes.legend(ncols=3, fontsize=8, columnspacing=1, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def confusion(matrix: NDArray[np.integer], classes: Sequence[str], title: str) -> Figure:
    """Confusion matrix (C, C), truth on rows: counts, coloured by the share of the row."""
    figure = Figure(figsize=(3.7, 3.5))
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        dark = share[row, column] > 0.5
        text = f"{count}\n{100 * share[row, column]:.0f} %"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="answer", ylabel="truth", title=title)
    return figure


def calibration(label: NDArray[np.int64], probability: NDArray[np.floating], error: float) -> Figure:
    """How often the answer is right against how sure the model is; the size of a point is its share of examples."""
    figure = Figure(figsize=(3.3, 3.2))
    axes = figure.subplots()
    bins = reliability(label, probability)
    axes.plot([0, 1], [0, 1], color="#888888", linestyle=":")
    share, right, sure = zip(*bins, strict=True)
    axes.plot(sure, right, color=COLOURS[0], clip_on=False)
    axes.scatter(sure, right, [400 * one for one in share], color=COLOURS[0], clip_on=False, zorder=3)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="largest probability", ylabel="share that is right")
    axes.set_title(f"Calibration, error {error:.3f}", pad=14)  # clear of points at 1
    return figure


def reconstructions(
    stamps: NDArray[np.float32], seen: NDArray[np.float32], channels: Sequence[str], titles: Sequence[str]
) -> Figure:
    """Stamps (N, C, S, S) beside their reconstructions and residuals, channel by channel; one column an example."""
    figure = Figure(figsize=(1.08 * len(stamps) + 0.6, 3.3 * len(channels)), layout="constrained")
    for panel, (place, channel) in zip(
        figure.subfigures(len(channels), squeeze=False)[:, 0], enumerate(channels), strict=True
    ):
        panel.suptitle(channel, fontsize=9, fontweight="bold", x=0.01, ha="left")
        grid = panel.subplots(3, len(stamps), squeeze=False)
        for column, title in enumerate(titles):
            original, made = stamps[column, place], seen[column, place]
            _triplet(grid[:, column], original, made)
            grid[0, column].set_title(title, fontsize=8, fontweight="normal")
        for row, kind in enumerate(("original", "reconstruction", "residual")):
            grid[row, 0].set_ylabel(kind, fontsize=7)
    return figure


def _triplet(axes: Sequence[Axes], original: NDArray[np.float32], made: NDArray[np.float32]) -> None:
    axes[0].imshow(original, cmap="gray", vmin=0, vmax=1)
    axes[1].imshow(made, cmap="gray", vmin=0, vmax=1)
    axes[2].imshow(original - made, cmap="RdBu", vmin=-RESIDUAL, vmax=RESIDUAL)
    for one in axes:
        one.set(xticks=[], yticks=[])
        one.spines[:].set_visible(False)


def projection(values: NDArray[np.floating], label: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """UMAP of values (N, L) in two dimensions, by class (McInnes et al. 2018)."""
    rows = np.random.default_rng(0).permutation(len(values))[:UMAP_POINTS]
    flat = _laid_flat(values[rows])
    figure = Figure(figsize=(4.6, 4))
    axes = figure.subplots()
    for place, name in enumerate(classes):
        some = flat[label[rows] == place]
        axes.scatter(some[:, 0], some[:, 1], s=8, alpha=0.7, color=COLOURS[place % len(COLOURS)], label=name)
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)
    axes.legend(markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _laid_flat(values: NDArray[np.floating]) -> NDArray[np.float32]:
    with _same_threads():
        from umap import UMAP  # noqa: PLC0415 - it compiles for seconds; only who draws it waits

        neighbours = min(15, len(values) - 1)
        flat: NDArray[np.float32] = UMAP(n_neighbors=neighbours, random_state=0, n_jobs=1).fit_transform(values)
    return flat


@contextmanager
def _same_threads() -> Iterator[None]:
    """numba's threads are torch's too, and what torch sums depends to the bit on how many there are."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def class_table(label: NDArray[np.int64], probability: NDArray[np.floating], classes: Sequence[str]) -> Figure:
    """Precision, recall and F1 of each class as bars, with the number of examples."""
    figure = Figure(figsize=(4.4, 2.9))
    axes = figure.subplots()
    table = per_class(label, probability)
    places = np.arange(len(classes))
    for offset, name in enumerate(("precision", "recall", "F1")):
        bars = axes.bar(places + 0.27 * (offset - 1), 100 * table[:, offset], 0.25, color=COLOURS[offset], label=name)
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
    counts = [f"{name}\n{int(table[place, 3])}" for place, name in enumerate(classes)]
    axes.set_xticks(places, counts)
    axes.set(ylim=(0, 108), title="Precision, recall, F1 by class, %")
    axes.legend(ncols=3, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure
