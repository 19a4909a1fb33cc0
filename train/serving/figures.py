"""The pictures that only a served model has: its score by length of the sequence, and the losses of its fits."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from train.reporting.figures import COLOURS
from train.training.losses import EVERY


def score_by_length(found: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """Macro-F1 of each judge after so many alerts; below each length, how many objects have as many."""
    figure = Figure(figsize=(4.6, 3.2))
    axes = figure.subplots()
    judges = [name for name in next(iter(found.values())) if name != "objects"]
    places = range(len(found))
    for judge, colour in zip(judges, COLOURS, strict=False):
        axes.plot(places, [row[judge] for row in found.values()], color=colour, marker="o", label=judge)
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
    axes.set(xlabel="step", ylabel=f"loss, mean of {EVERY} steps", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(curves) > 1:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
